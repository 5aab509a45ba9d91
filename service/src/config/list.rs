//! Lists that can also be given as one text with commas, as environment variables must be.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Part>),
    One(Part),
}

/// Numbers stand without quotes in a file, and as text in the environment.
#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Number(i64),
}

impl Part {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// `["a", "b"]` or `"a, b"`; `[1, 2]` or `"1, 2"`.
pub fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let parts = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(list) => list.into_iter().map(Part::into_text).collect(),
        OneOrMany::One(part) => {
            let text = part.into_text();
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect::<Vec<_>>()
        }
    };
    parts.iter().map(|part| part.parse().map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Lists {
        #[serde(deserialize_with = "super::one_or_many")]
        ports: Vec<u16>,
        #[serde(deserialize_with = "super::one_or_many")]
        names: Vec<String>,
    }

    #[test]
    fn numbers_and_texts_are_read_either_way() {
        let read = |ports, names| serde_json::from_value::<Lists>(json!({"ports": ports, "names": names}));
        let lists = Lists { ports: vec![80, 443], names: vec!["a".into(), "7".into()] };
        assert_eq!(read(json!([80, 443]), json!(["a", "7"])).unwrap(), lists);
        assert_eq!(read(json!("80, 443"), json!("a,7,")).unwrap(), lists);
        assert_eq!(read(json!([80, "443"]), json!(["a", 7])).unwrap(), lists);
        assert_eq!(read(json!(80), json!("")).unwrap(), Lists { ports: vec![80], names: vec![] });
        for wrong in [json!([70_000]), json!([-1]), json!("x"), json!([[80]])] {
            assert!(read(wrong.clone(), json!([])).is_err(), "{wrong}");
        }
    }
}
