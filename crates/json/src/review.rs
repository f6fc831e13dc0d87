//! Reading a review: of the body, which is borrowed, nothing is built but what a decision can rest on.
//!
//! The API server sends whole objects, managed fields, status and all, and most writes change nothing that is ours. So
//! of an UPDATE the pod templates are taken as the bytes that they are: where those of the old object and of the new one
//! are equal, they are never read. The object of a CREATE is compared with none, and read at once.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
};
use serde_json::value::RawValue;

use crate::{
    Fields, Json, Keep,
    keep::{Text, document},
};

/// The request of an AdmissionReview.
#[derive(Debug, Default)]
pub struct RequestIn<'a> {
    /// By which the answer is told apart.
    pub uid: Cow<'a, str>,
    /// What resource it is about.
    pub resource: ResourceIn<'a>,
    /// What kind of object it is about.
    pub kind: KindIn<'a>,
    /// A part of the resource, such as `scale`.
    pub sub_resource: Option<Cow<'a, str>>,
    /// The object's name; empty where the server is to make one.
    pub name: Cow<'a, str>,
    /// The object's namespace.
    pub namespace: Cow<'a, str>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: Cow<'a, str>,
    /// The object as it is to be stored.
    pub object: Option<ObjectIn<'a>>,
    /// The object as it is stored.
    pub old_object: Option<ObjectIn<'a>>,
    /// How the writer writes.
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
#[derive(Debug, Default, Deserialize)]
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
#[derive(Debug)]
pub struct ObjectIn<'a>(Form<'a>);

#[derive(Debug)]
enum Form<'a> {
    /// What is kept of it.
    Read(Json<'a>),
    /// Its parts as the bytes that they are.
    Bytes(Parts<'a>),
}

#[derive(Debug, Default, Deserialize)]
struct Parts<'a> {
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

/// `request.uid` of a body of which nothing else can be relied on.
#[must_use]
pub fn uid(body: &[u8]) -> Option<Cow<'_, str>> {
    let reader = serde_json::Deserializer::from_slice(body);
    let uid = document(reader, Field("request", Field("uid", Text)));
    uid.ok().filter(|uid| !uid.is_empty())
}

/// One field of an object, and of the others nothing.
#[derive(Clone, Copy)]
struct Field<S>(&'static str, S);

impl<'de, S: DeserializeSeed<'de> + Copy> DeserializeSeed<'de> for Field<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for Field<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S::Value, A::Error> {
        let mut read = None;
        while let Some(name) = map.next_key_seed(Text)? {
            if name == self.0 {
                read = Some(map.next_value_seed(self.1)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        read.ok_or_else(|| A::Error::missing_field(self.0))
    }
}

/// A request, with what is kept of an object that is made.
#[derive(Clone, Copy)]
struct Request<'k>(&'k Keep);

impl<'de> DeserializeSeed<'de> for Request<'_> {
    type Value = RequestIn<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Request<'_> {
    type Value = RequestIn<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut uid, mut resource, mut operation) = (None, None, None);
        let mut request = RequestIn::default();
        while let Some(name) = map.next_key_seed(Text)? {
            match &*name {
                "uid" => uid = Some(map.next_value_seed(Text)?),
                "resource" => resource = Some(map.next_value_seed(Object(PhantomData))?),
                "kind" => request.kind = map.next_value_seed(Object(PhantomData))?,
                "subResource" => request.sub_resource = map.next_value()?,
                "name" => request.name = map.next_value_seed(Text)?,
                "namespace" => request.namespace = map.next_value_seed(Text)?,
                "operation" => operation = Some(map.next_value_seed(Text)?),
                // The API server sends the operation before the object.
                "object" if operation.as_deref() == Some("CREATE") => {
                    let object = map.next_value_seed(self.0)?;
                    request.object = object.is_object().then_some(ObjectIn(Form::Read(object)));
                }
                "object" => request.object = map.next_value_seed(Odd(PhantomData))?.map(bytes),
                "oldObject" => {
                    request.old_object = map.next_value_seed(Odd(PhantomData))?.map(bytes);
                }
                "options" => request.options = map.next_value_seed(Odd(PhantomData))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let missing = A::Error::missing_field;
        Ok(RequestIn {
            uid: uid.ok_or_else(|| missing("uid"))?,
            resource: resource.ok_or_else(|| missing("resource"))?,
            operation: operation.ok_or_else(|| missing("operation"))?,
            ..request
        })
    }
}

const fn bytes(parts: Parts<'_>) -> ObjectIn<'_> {
    ObjectIn(Form::Bytes(parts))
}

/// An object. Left to itself a struct is read from a list as well.
struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Object<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<'a> RequestIn<'a> {
    /// Reads the body of a review: all of the request that decisions rest on, and of the object of a CREATE what is
    /// to be kept.
    ///
    /// # Errors
    /// Where it is no review, or the object of a CREATE is nested too deeply.
    pub fn read(body: &'a [u8], of_created: &Keep) -> serde_json::Result<Self> {
        // Once for all of it: else the parser looks at each text.
        let text = str::from_utf8(body).map_err(Error::custom)?;
        let reader = serde_json::Deserializer::from_str(text);
        document(reader, Field("request", Request(of_created)))
    }

    /// Who writes, where the writer says so.
    #[must_use]
    pub fn field_manager(&self) -> Option<&str> {
        self.options.as_ref()?.field_manager.as_deref()
    }
}

impl<'a> ObjectIn<'a> {
    /// The object, as far as decisions go.
    ///
    /// # Errors
    /// Where a part of it is nested too deeply.
    pub fn read(&self) -> serde_json::Result<Cow<'_, Json<'a>>> {
        match &self.0 {
            Form::Read(object) => Ok(Cow::Borrowed(object)),
            Form::Bytes(parts) => parts.read().map(Cow::Owned),
        }
    }

    /// `metadata.name`, where it is text.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'_, str>> {
        self.of_metadata("name", |it| it.name)
    }

    /// `metadata.uid`, where it is text.
    #[must_use]
    pub fn uid(&self) -> Option<Cow<'_, str>> {
        self.of_metadata("uid", |it| it.uid)
    }

    fn of_metadata(
        &self,
        name: &str,
        part: impl FnOnce(&MetadataIn<'a>) -> Option<&'a RawValue>,
    ) -> Option<Cow<'_, str>> {
        match &self.0 {
            Form::Read(object) => Some(Cow::Borrowed(object.get("metadata")?.text(name)?)),
            Form::Bytes(parts) => text(part(parts.metadata.as_ref()?)?),
        }
    }

    /// Whether pod template and annotations are the other's, byte by byte: then a write from one to the other restarts
    /// nobody, and drops none of our notes.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let (Form::Bytes(this), Form::Bytes(other)) = (&self.0, &other.0) else {
            return false;
        };
        let template = |it: &Parts<'a>| Some(it.spec.as_ref()?.template?.get());
        let annotations = |it: &Parts<'a>| Some(it.metadata.as_ref()?.annotations?.get());
        template(this) == template(other) && annotations(this) == annotations(other)
    }
}

impl<'a> Parts<'a> {
    fn read(&self) -> serde_json::Result<Json<'a>> {
        let metadata = self.metadata.as_ref().map(|it| {
            fields([
                ("name", it.name),
                ("deletionTimestamp", it.deletion_timestamp),
                ("labels", it.labels),
                ("annotations", it.annotations),
            ])
        });
        let spec = self.spec.as_ref().map(|it| {
            fields([
                ("template", it.template),
                ("nodeType", it.node_type),
                ("validatorConfig", it.validator_config),
            ])
        });
        let both = [("metadata", metadata), ("spec", spec)].into_iter();
        let there = both.filter_map(|(name, part)| Some(part?.map(|part| (name, part))));
        Ok(Json::Object(there.collect::<Result<Fields<'a>, _>>()?))
    }
}

fn fields<'a, const N: usize>(
    parts: [(&'static str, Option<&'a RawValue>); N],
) -> serde_json::Result<Json<'a>> {
    let there = parts.into_iter();
    let read = there.filter_map(|(name, part)| {
        let read = Keep::All.read(part?.get());
        Some(read.map(|part| (name, part)))
    });
    Ok(Json::Object(read.collect::<Result<Fields<'a>, _>>()?))
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    document(serde_json::Deserializer::from_str(raw.get()), Text).ok()
}

/// Nothing where there is no object: for decisions, text in the place of a spec is no spec.
fn odd<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Odd(PhantomData).deserialize(deserializer)
}

struct Odd<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Odd<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

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
