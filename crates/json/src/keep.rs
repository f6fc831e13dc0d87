//! Reading a part of a document: what no decision rests on is not built.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, de::Read};

use super::{Fields, Json};

/// What is kept of a value. Where the value has another shape than is said here, it is kept as it is.
#[derive(Debug)]
pub enum Keep {
    /// All of it.
    All,
    /// These fields of an object.
    Fields(&'static [(&'static str, Keep)]),
    /// Of each item of a list.
    Each(&'static Keep),
}

impl Keep {
    /// Reads a document.
    ///
    /// # Errors
    /// Where it is no JSON, or nested too deeply in what is kept.
    pub fn read<'a>(&self, text: &'a str) -> serde_json::Result<Json<'a>> {
        document(Deserializer::from_str(text), self)
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

/// Reads a whole document by a seed.
pub(crate) fn document<'a, R: Read<'a>, S: DeserializeSeed<'a>>(
    mut reader: Deserializer<R>,
    seed: S,
) -> serde_json::Result<S::Value> {
    let read = seed.deserialize(&mut reader)?;
    reader.end()?;
    Ok(read)
}

impl<'de> DeserializeSeed<'de> for &Keep {
    type Value = Json<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Keep {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key_seed(Text)? {
            match self.field(&name) {
                Some(keep) => fields.push((name, map.next_value_seed(keep)?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Json::Object(Fields::of(fields)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut kept = Vec::new();
        while let Some(item) = items.next_element_seed(self.item())? {
            kept.push(item);
        }
        Ok(Json::List(kept))
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::from(value.to_owned()))
    }
}

/// Text, borrowed where there is nothing escaped in it.
#[derive(Clone, Copy)]
pub(crate) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
