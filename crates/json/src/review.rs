//! Reading a review: of the body, which is borrowed, nothing is built but what a decision can rest on.
//!
//! The API server sends whole objects, managed fields, status and all, and most writes change nothing that is ours. So
//! pod templates are taken as the bytes that they are: where those of the old object and of the new one are equal, they
//! are never read.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use crate::{Fields, Json, Keep};

/// An AdmissionReview as it came.
#[derive(Debug, Deserialize)]
pub struct ReviewIn<'a> {
    /// What is asked.
    #[serde(borrow, deserialize_with = "object")]
    pub request: RequestIn<'a>,
}

/// Its request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestIn<'a> {
    /// By which the answer is told apart.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// What resource it is about.
    #[serde(borrow, deserialize_with = "object")]
    pub resource: ResourceIn<'a>,
    /// What kind of object it is about.
    #[serde(borrow, default, deserialize_with = "object")]
    pub kind: KindIn<'a>,
    /// A part of the resource, such as `scale`.
    #[serde(borrow, default)]
    pub sub_resource: Option<Cow<'a, str>>,
    /// The object's name; empty where the server is to make one.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// The object's namespace.
    #[serde(borrow, default)]
    pub namespace: Cow<'a, str>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(borrow)]
    pub operation: Cow<'a, str>,
    /// The object as it is to be stored.
    #[serde(borrow, default, deserialize_with = "odd")]
    pub object: Option<ObjectIn<'a>>,
    /// The object as it is stored.
    #[serde(borrow, default, deserialize_with = "odd")]
    pub old_object: Option<ObjectIn<'a>>,
    /// How the writer writes.
    #[serde(borrow, default, deserialize_with = "odd")]
    pub options: Option<OptionsIn<'a>>,
}

/// What kind of object it is about.
#[derive(Debug, Default, Deserialize)]
pub struct KindIn<'a> {
    /// Its name, such as `StatefulSet`.
    #[serde(borrow, default)]
    pub kind: Cow<'a, str>,
}

/// What resource it is about.
#[derive(Debug, Deserialize)]
pub struct ResourceIn<'a> {
    /// The API group.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
    /// Its name, such as `statefulsets`.
    #[serde(borrow)]
    pub resource: Cow<'a, str>,
}

/// How the writer writes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OptionsIn<'a> {
    /// Who writes.
    #[serde(borrow, default)]
    pub field_manager: Option<Cow<'a, str>>,
}

/// A StatefulSet or a StellarNode.
#[derive(Debug, Default, Deserialize)]
pub struct ObjectIn<'a> {
    #[serde(borrow, default, deserialize_with = "odd")]
    metadata: Option<MetadataIn<'a>>,
    #[serde(borrow, default, deserialize_with = "odd")]
    spec: Option<SpecIn<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataIn<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecIn<'a> {
    #[serde(borrow, default)]
    template: Option<&'a RawValue>,
    #[serde(borrow, default)]
    node_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    validator_config: Option<&'a RawValue>,
}

impl<'a> ReviewIn<'a> {
    /// Reads the body of a review.
    ///
    /// # Errors
    /// Where it is no review.
    pub fn read(body: &'a [u8]) -> serde_json::Result<Self> {
        document(body)
    }
}

/// `request.uid` of a body of which nothing else can be relied on.
#[must_use]
pub fn uid(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Review<'a> {
        #[serde(borrow, deserialize_with = "object")]
        request: Request<'a>,
    }
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        uid: Cow<'a, str>,
    }
    let review: Review<'_> = document(body).ok()?;
    Some(review.request.uid).filter(|uid| !uid.is_empty())
}

fn document<'a, T: Deserialize<'a>>(body: &'a [u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = object(&mut reader)?;
    reader.end()?;
    Ok(read)
}

/// An object. Left to itself a struct is read from a list as well.
fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(Object(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl RequestIn<'_> {
    /// Who writes, where the writer says so.
    #[must_use]
    pub fn field_manager(&self) -> Option<&str> {
        self.options.as_ref()?.field_manager.as_deref()
    }
}

impl<'a> ObjectIn<'a> {
    /// The object, as far as decisions go, with what is to be kept of its pod template.
    ///
    /// # Errors
    /// Where a part of it is nested too deeply.
    pub fn read(&self, of_template: &Keep) -> serde_json::Result<Json<'a>> {
        let metadata = self.metadata.as_ref().map(|it| {
            parts([
                ("name", it.name, &Keep::All),
                ("deletionTimestamp", it.deletion_timestamp, &Keep::All),
                ("labels", it.labels, &Keep::All),
                ("annotations", it.annotations, &Keep::All),
            ])
        });
        let spec = self.spec.as_ref().map(|it| {
            parts([
                ("template", it.template, of_template),
                ("nodeType", it.node_type, &Keep::All),
                ("validatorConfig", it.validator_config, &Keep::All),
            ])
        });
        let both = [("metadata", metadata), ("spec", spec)].into_iter();
        let there = both.filter_map(|(name, part)| Some(part?.map(|part| (name, part))));
        Ok(Json::Object(there.collect::<Result<Fields<'a>, _>>()?))
    }

    /// `metadata.name`, where it is text.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'_, str>> {
        text(self.metadata.as_ref()?.name)
    }

    /// `metadata.uid`, where it is text.
    #[must_use]
    pub fn uid(&self) -> Option<Cow<'_, str>> {
        text(self.metadata.as_ref()?.uid)
    }

    /// Whether pod template and annotations are the other's, byte by byte: then a write from one to the other restarts
    /// nobody, and drops none of our notes.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let template = |it: &Self| Some(it.spec.as_ref()?.template?.get());
        let annotations = |it: &Self| Some(it.metadata.as_ref()?.annotations?.get());
        template(self) == template(other) && annotations(self) == annotations(other)
    }
}

fn parts<'a, const N: usize>(
    parts: [(&'static str, Option<&'a RawValue>, &Keep); N],
) -> serde_json::Result<Json<'a>> {
    let there = parts.into_iter();
    let read = there.filter_map(|(name, part, keep)| {
        let read = keep.read(part?.get());
        Some(read.map(|part| (name, part)))
    });
    Ok(Json::Object(read.collect::<Result<Fields<'a>, _>>()?))
}

fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Text<'_> = serde_json::from_str(raw?.get()).ok()?;
    Some(text.0)
}

/// Nothing where there is no object: for decisions, text in the place of a spec is no spec.
fn odd<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Odd(PhantomData))
}

struct Odd<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Odd<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}
