//! `Upload-Metadata`: pairs of a key and a value in base64.

use data_encoding::{BASE64, BASE64_NOPAD};

use super::TusError;

/// What a client says of its upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// As it was sent, which is how it is given back.
    text: String,
    pairs: Vec<(String, String)>,
}

impl Metadata {
    /// Reads the header. Keys without a value, blanks and empty entries, which clients send, are all right. A value that is
    /// not UTF-8 is Latin-1, as browsers' `btoa` has it.
    pub(crate) fn parse(text: &str) -> Result<Self, TusError> {
        let mut pairs = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (key, value) = entry.split_once(' ').unwrap_or((entry, ""));
            let value = value.trim();
            let decoded = BASE64.decode(value.as_bytes()).or_else(|_| BASE64_NOPAD.decode(value.as_bytes()));
            let decoded = decoded.map_err(|_| {
                TusError::BadHeader(format!("Upload-Metadata: {key:?} has a value that is not base64"))
            })?;
            pairs.push((key.to_string(), decode(decoded)));
        }
        Ok(Self { text: text.trim().to_string(), pairs })
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// What the client calls the file.
    pub(crate) fn name(&self) -> &str {
        self.get("filename").or_else(|| self.get("name")).unwrap_or_default()
    }

    /// All keys with their values.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The header as it was sent.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_read_as_clients_send_them() {
        let metadata = Metadata::parse("filename d29ybGQ=, is_secret,filetype ,,  network cHVibGlj").unwrap();
        assert_eq!(metadata.name(), "world");
        assert_eq!(metadata.get("is_secret"), Some(""));
        assert_eq!(metadata.get("filetype"), Some(""));
        assert_eq!(metadata.get("network"), Some("public"));
        assert_eq!(metadata.get("other"), None);
        assert_eq!(metadata.pairs().len(), 4);
        assert_eq!(Metadata::parse("").unwrap(), Metadata::default());
        assert_eq!(Metadata::parse("name d29ybGQ").unwrap().name(), "world");
        assert!(Metadata::parse("filename ?").is_err());
        assert_eq!(Metadata::parse("filename /w==").unwrap().name(), "\u{ff}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            if let Ok(metadata) = Metadata::parse(&text) {
                let _ = (metadata.name(), metadata.clone().into_text());
            }
        }

        #[test]
        fn every_value_is_read_back(pairs in proptest::collection::vec(("[!-+.-~]{1,9}", any::<String>()), 0..5)) {
            let text: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{key} {}", BASE64.encode(value.as_bytes()))).collect();
            let metadata = Metadata::parse(&text.join(",")).unwrap();
            prop_assert_eq!(metadata.pairs(), &pairs[..]);
        }
    }
}
