//! Reading a part of a JSON document: what no decision rests on is not built.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// What is kept of a value. Where the value has another shape than is said here, it is kept as it is.
#[derive(Debug)]
pub(super) enum Keep {
    /// All of it.
    All,
    /// These fields of an object.
    Fields(&'static [(&'static str, Keep)]),
    /// Of each item of a list.
    Each(&'static Keep),
}

/// What an injection reads of a container.
const CONTAINER: Keep = Keep::Fields(&[
    ("name", Keep::All),
    ("command", Keep::All),
    ("args", Keep::All),
    ("ports", Keep::All),
    ("resources", Keep::All),
    ("securityContext", Keep::All),
    ("volumeMounts", Keep::All),
]);

/// What an injection reads of a new pod template. Changed ones are compared, and for that read as a whole.
pub(super) const NEW_TEMPLATE: Keep = Keep::Fields(&[
    (
        "metadata",
        Keep::Fields(&[("labels", Keep::All), ("annotations", Keep::All)]),
    ),
    (
        "spec",
        Keep::Fields(&[
            ("containers", Keep::Each(&CONTAINER)),
            ("initContainers", Keep::All),
            ("securityContext", Keep::All),
            ("volumes", Keep::All),
        ]),
    ),
]);

impl Keep {
    /// Reads a document.
    ///
    /// # Errors
    /// Where it is no JSON, or nested too deeply in what is kept.
    pub(super) fn read(&self, text: &str) -> serde_json::Result<Value> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = self.deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Fields(fields) => {
                let field = fields.iter().find(|(field, _)| *field == name);
                field.map(|(_, keep)| keep)
            }
            Self::All | Self::Each(_) => Some(&Self::All),
        }
    }

    const fn item(&self) -> &Self {
        match self {
            Self::Each(keep) => keep,
            Self::All | Self::Fields(_) => &Self::All,
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Keep {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self {
            Keep::All => Value::deserialize(deserializer),
            Keep::Fields(_) | Keep::Each(_) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for &Keep {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.field(&key) {
                Some(keep) => drop(kept.insert(key, map.next_value_seed(keep)?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(item) = items.next_element_seed(self.item())? {
            kept.push(item);
        }
        Ok(Value::Array(kept))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SOME: Keep = Keep::Fields(&[
        ("a", Keep::All),
        ("b", Keep::Each(&Keep::Fields(&[("c", Keep::All)]))),
    ]);

    #[test]
    fn what_is_not_named_is_left_out_and_the_rest_stands_as_it_was() {
        for (whole, kept) in [
            (
                json!({"a": {"x": [1, -1, 1.5, null]}, "z": 1}),
                json!({"a": {"x": [1, -1, 1.5, null]}}),
            ),
            (
                json!({"b": [{"c": 1, "d": 2}, {"d": 2}, "text", null]}),
                json!({"b": [{"c": 1}, {}, "text", null]}),
            ),
            (
                json!({"b": {"d": [{"e": 1}]}}),
                json!({"b": {"d": [{"e": 1}]}}),
            ),
            (json!([{"z": 1}]), json!([{"z": 1}])),
            (json!(true), json!(true)),
            (json!("text\n"), json!("text\n")),
        ] {
            assert_eq!(SOME.read(&whole.to_string()).unwrap(), kept);
        }
    }

    proptest! {
        #[test]
        fn what_is_no_json_is_an_error(text in "[\\[\\]{}:,\"ab1. ]{0,20}") {
            let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(SOME.read(&text).is_ok(), is_json);
        }
    }
}
