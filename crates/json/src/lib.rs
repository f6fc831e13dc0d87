//! What every admission goes through: JSON as a tree that borrows its text, patches made of such trees, and the reading
//! of reviews.
//!
//! An admission reads a pod template of which it needs a few fields, and answers with a few values. A tree of owned
//! strings and maps costs more than all that is decided on it; this one allocates for its lists and fields alone.
//!
//! A crate of its own since it is built for speed, and the rest of the program for size.

mod keep;
mod patch;
pub mod review;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeSeed};
use serde_json::{Number, Value};

pub use self::{
    keep::Keep,
    patch::{Operation, escaped, to_bytes},
};

/// Any JSON value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Json<'a> {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Json<'a>>),
    /// An object.
    Object(Fields<'a>),
}

/// So many fields are looked through one by one.
const FEW: usize = 12;

/// The fields of an object, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Fields<'a> {
    /// Of a name that occurs twice the later value counts, as everywhere.
    fn of(mut fields: Vec<(Cow<'a, str>, Json<'a>)>) -> Self {
        let is_sorted = fields.is_sorted_by(|(one, _), (next, _)| one < next);
        if !is_sorted {
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            fields.dedup_by(|(name, value), (before, kept)| {
                let is_same = name == before;
                if is_same {
                    std::mem::swap(value, kept);
                }
                is_same
            });
        }
        Self(fields)
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(it, _)| (**it).cmp(name))
    }

    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        // Most objects have few fields, and most names tell their difference by their lengths.
        if self.0.len() <= FEW {
            let mut fields = self.0.iter();
            return fields.find(|(it, _)| *it == name).map(|(_, value)| value);
        }
        let at = self.position(name).ok()?;
        Some(&self.0[at].1)
    }

    /// Each field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Json<'a>> {
        let at = self.position(name).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Sets a field.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Json<'a>>) {
        let (name, value) = (name.into(), value.into());
        match self.position(&name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
    }
}

impl<'a> IntoIterator for Fields<'a> {
    type Item = (Cow<'a, str>, Json<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, N: Into<Cow<'a, str>>> FromIterator<(N, Json<'a>)> for Fields<'a> {
    fn from_iter<I: IntoIterator<Item = (N, Json<'a>)>>(fields: I) -> Self {
        let fields = fields.into_iter();
        Self::of(fields.map(|(name, value)| (name.into(), value)).collect())
    }
}

impl<'a> Json<'a> {
    /// An object with these fields.
    #[must_use]
    pub fn object<const N: usize>(fields: [(&'a str, Self); N]) -> Self {
        Self::Object(fields.into_iter().collect())
    }

    /// A list of these items.
    #[must_use]
    pub fn list(items: impl IntoIterator<Item = impl Into<Self>>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// A field, where this is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// A field, where this is an object that has it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let Self::Object(fields) = self else {
            return None;
        };
        let at = fields.position(name).ok()?;
        Some(&mut fields.0[at].1)
    }

    /// What is at the end of these fields, each in the one before.
    #[must_use]
    pub fn at<const N: usize>(&self, names: [&str; N]) -> Option<&Self> {
        names.into_iter().try_fold(self, |it, name| it.get(name))
    }

    /// A field that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The text, where it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where it is a whole one and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The number, where it is a whole one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The items, where it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The items, where it is a list.
    pub const fn as_list_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The fields, where it is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Fields<'a>> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// The fields, where it is an object.
    pub const fn as_object_mut(&mut self) -> Option<&mut Fields<'a>> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether it is an object.
    #[must_use]
    pub const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Whether it is a list.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// Whether it is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The same, with text of its own.
    #[must_use]
    pub fn into_owned(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Bool(it) => Json::Bool(it),
            Self::Number(number) => Json::Number(number),
            Self::Text(text) => Json::Text(Cow::Owned(text.into_owned())),
            Self::List(items) => Json::List(items.into_iter().map(Json::into_owned).collect()),
            Self::Object(Fields(fields)) => {
                let owned = |(name, value): (Cow<'_, str>, Json<'_>)| {
                    (Cow::Owned(name.into_owned()), value.into_owned())
                };
                Json::Object(Fields(fields.into_iter().map(owned).collect()))
            }
        }
    }
}

impl<'a> From<&'a str> for Json<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Json<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Json<'_> {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl From<u16> for Json<'_> {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<i64> for Json<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl<'a> From<&'a Value> for Json<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(it) => Self::Bool(*it),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::from(text.as_str()),
            Value::Array(items) => Self::list(items),
            Value::Object(fields) => {
                let fields = fields.iter();
                Self::Object(
                    fields
                        .map(|(name, it)| (name.as_str(), it.into()))
                        .collect(),
                )
            }
        }
    }
}

impl From<Value> for Json<'_> {
    fn from(value: Value) -> Self {
        Json::from(&value).into_owned()
    }
}

impl From<Json<'_>> for Value {
    fn from(json: Json<'_>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(it) => Self::Bool(it),
            Json::Number(number) => Self::Number(number),
            Json::Text(text) => Self::String(text.into_owned()),
            Json::List(items) => Self::Array(items.into_iter().map(Into::into).collect()),
            Json::Object(Fields(fields)) => {
                let fields = fields.into_iter();
                Self::Object(
                    fields
                        .map(|(name, it)| (name.into_owned(), it.into()))
                        .collect(),
                )
            }
        }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(it) => serializer.serialize_bool(*it),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(fields) => serializer.collect_map(fields.iter()),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Keep::All.deserialize(deserializer)
    }
}

/// Reads a value with text of its own, from what is not kept.
///
/// # Errors
/// Those of the deserializer.
pub fn owned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json<'static>, D::Error> {
    Json::deserialize(deserializer).map(Json::into_owned)
}
