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

use crate::json::{Fields, Json, Keep};

/// An AdmissionReview as it came.
#[derive(Deserialize)]
pub(super) struct ReviewIn<'a> {
    #[serde(borrow)]
    pub(super) request: RequestIn<'a>,
}

/// Its request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestIn<'a> {
    #[serde(borrow)]
    pub(super) uid: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) resource: ResourceIn<'a>,
    #[serde(borrow, default)]
    pub(super) kind: KindIn<'a>,
    #[serde(borrow, default)]
    pub(super) sub_resource: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "odd")]
    pub(super) object: Option<ObjectIn<'a>>,
    #[serde(borrow, default, deserialize_with = "odd")]
    pub(super) old_object: Option<ObjectIn<'a>>,
    #[serde(borrow, default, deserialize_with = "odd")]
    pub(super) options: Option<OptionsIn<'a>>,
}

/// What kind of object it is about.
#[derive(Default, Deserialize)]
pub(super) struct KindIn<'a> {
    #[serde(borrow, default)]
    pub(super) kind: Cow<'a, str>,
}

/// What resource it is about.
#[derive(Deserialize)]
pub(super) struct ResourceIn<'a> {
    #[serde(borrow)]
    pub(super) group: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) resource: Cow<'a, str>,
}

/// How the writer writes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OptionsIn<'a> {
    #[serde(borrow, default)]
    pub(super) field_manager: Option<Cow<'a, str>>,
}

/// A StatefulSet or a StellarNode.
#[derive(Default, Deserialize)]
pub(super) struct ObjectIn<'a> {
    #[serde(borrow, default, deserialize_with = "odd")]
    metadata: Option<MetadataIn<'a>>,
    #[serde(borrow, default, deserialize_with = "odd")]
    spec: Option<SpecIn<'a>>,
}

#[derive(Default, Deserialize)]
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

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecIn<'a> {
    #[serde(borrow, default)]
    template: Option<&'a RawValue>,
    #[serde(borrow, default)]
    node_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    validator_config: Option<&'a RawValue>,
}

impl RequestIn<'_> {
    /// Who writes, where the writer says so.
    pub(super) fn field_manager(&self) -> Option<&str> {
        self.options.as_ref()?.field_manager.as_deref()
    }
}

impl<'a> ObjectIn<'a> {
    /// The object, as far as decisions go, with what is to be kept of its pod template.
    ///
    /// # Errors
    /// Where a part of it is nested too deeply.
    pub(super) fn read(&self, of_template: &Keep) -> serde_json::Result<Json<'a>> {
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
    pub(super) fn name(&self) -> Option<Cow<'_, str>> {
        text(self.metadata.as_ref()?.name)
    }

    /// `metadata.uid`, where it is text.
    pub(super) fn uid(&self) -> Option<Cow<'_, str>> {
        text(self.metadata.as_ref()?.uid)
    }

    /// Whether pod template and annotations are the other's, byte by byte: then a write from one to the other restarts
    /// nobody, and drops none of our notes.
    pub(super) fn is_like(&self, other: &Self) -> bool {
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
