//! What a CAR is to contain: parameters of the query, and of the media type where the query says nothing.

use super::super::{format::FormatError, request::ContentRequest};

/// What is wanted of the DAG at the end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Its root block.
    Block,
    /// The file, or what is needed to list the directory.
    Entity,
    /// Everything.
    All,
}

/// `entity-bytes`: both ends are within; negative numbers count from the end, and no end is the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityBytes {
    pub(crate) from: i64,
    pub(crate) to: Option<i64>,
}

/// What a CAR is to contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CarParams {
    pub(crate) scope: Scope,
    pub(crate) bytes: Option<EntityBytes>,
    /// Whether a block is sent each time it occurs.
    pub(crate) duplicates: bool,
}

impl CarParams {
    /// Reads the query; `accept` are the parameters of the media type.
    pub(crate) fn new(request: &ContentRequest, accept: &[(&str, &str)]) -> Result<Self, FormatError> {
        // What a parameter says, and whether the query says it.
        let said = |query: &'static str, media: &str| -> (Option<String>, bool) {
            if let Some(value) = request.parameter(query) {
                return (Some(value), true);
            }
            let value = accept.iter().find(|(name, _)| *name == media);
            (value.map(|(_, value)| (*value).to_string()), false)
        };
        let wrong = |name: &'static str, value: &str, in_query: bool| {
            let value = value.chars().take(32).collect();
            if in_query { FormatError::Parameter { name, value } } else { FormatError::NoSuchCar }
        };
        match said("car-version", "version") {
            (Some(version), in_query) if version != "1" => {
                return Err(wrong("car-version", &version, in_query));
            }
            _ => {}
        }
        // `unk` is any order, and ours is one.
        match said("car-order", "order") {
            (Some(order), in_query) if !matches!(order.as_str(), "dfs" | "unk") => {
                return Err(wrong("car-order", &order, in_query));
            }
            _ => {}
        }
        let duplicates = match said("car-dups", "dups") {
            (None, _) => false,
            (Some(dups), in_query) => match dups.as_str() {
                "y" => true,
                "n" => false,
                _ => return Err(wrong("car-dups", &dups, in_query)),
            },
        };
        let bytes = request.parameter("entity-bytes");
        let bytes = bytes
            .map(|value| entity_bytes(&value).ok_or_else(|| wrong("entity-bytes", &value, true)))
            .transpose()?;
        let scope = match request.parameter("dag-scope").as_deref() {
            Some("block") => Scope::Block,
            Some("entity") => Scope::Entity,
            Some("all") | None => Scope::All,
            Some(other) => return Err(wrong("dag-scope", other, true)),
        };
        // A range is one of the entity.
        let scope = if bytes.is_some() { Scope::Entity } else { scope };
        Ok(Self { scope, bytes, duplicates })
    }

    /// The media type with all that is known of the answer.
    pub(crate) fn content_type(&self) -> String {
        format!("application/vnd.ipld.car; version=1; order=dfs; dups={}", self.dups())
    }

    /// The parameters of the media type as those of a query.
    pub(crate) fn query(&self) -> String {
        format!("&car-version=1&car-order=dfs&car-dups={}", self.dups())
    }

    fn dups(&self) -> &'static str {
        if self.duplicates { "y" } else { "n" }
    }
}

fn entity_bytes(text: &str) -> Option<EntityBytes> {
    let (from, to) = text.split_once(':')?;
    let to = match to {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    Some(EntityBytes { from: from.parse().ok()?, to })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_of_an_entity_are_read_back(from: i64, to: Option<i64>) {
            let end = to.map_or("*".to_string(), |to| to.to_string());
            prop_assert_eq!(entity_bytes(&format!("{from}:{end}")), Some(EntityBytes { from, to }));
        }

        #[test]
        fn nothing_else_is_taken_for_them(text in prop_oneof![any::<String>(), "[-0-9:* ]{0,24}"]) {
            // What is read says the same when it is written.
            if let Some(EntityBytes { from, to }) = entity_bytes(&text) {
                let end = to.map_or("*".to_string(), |to| to.to_string());
                prop_assert_eq!(entity_bytes(&format!("{from}:{end}")), Some(EntityBytes { from, to }));
                prop_assert!(text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b':' | b'*')));
            }
        }
    }
}
