//! Label and field selectors, as a query carries them and as objects hold them.

use serde_json::Value;

use super::{error::ApiError, object::items};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Test {
    fn accepts(&self, found: Option<&str>) -> bool {
        match self {
            Self::In(values) => found.is_some_and(|f| values.iter().any(|v| v == f)),
            Self::NotIn(values) => found.is_none_or(|f| values.iter().all(|v| v != f)),
            Self::Exists => found.is_some(),
            Self::Absent => found.is_none(),
        }
    }
}

/// What a list or a watch was restricted to. The empty selector accepts everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

impl Selector {
    /// From the query parameters `labelSelector` and `fieldSelector`.
    pub(super) fn parse(labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = split_requirements(labels)
            .map(parse_label)
            .collect::<Result<_, _>>()?;
        let fields = split_requirements(fields)
            .map(parse_field)
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// From a `LabelSelector` object. Null and `{}` accept everything.
    pub(super) fn from_label_selector(selector: &Value) -> Self {
        let equal = selector["matchLabels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| {
                (
                    key.clone(),
                    Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
                )
            });
        let expressions = items(selector, "matchExpressions")
            .iter()
            .map(|expression| {
                let values = || {
                    items(expression, "values")
                        .iter()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect()
                };
                let test = match expression["operator"].as_str() {
                    Some("In") => Test::In(values()),
                    Some("NotIn") => Test::NotIn(values()),
                    Some("Exists") => Test::Exists,
                    _ => Test::Absent,
                };
                (
                    expression["key"].as_str().unwrap_or_default().to_owned(),
                    test,
                )
            });
        Self {
            labels: equal.chain(expressions).collect(),
            fields: Vec::new(),
        }
    }

    /// Restricts it to one name.
    pub(super) fn and_name(mut self, name: &str) -> Self {
        self.fields
            .push(("metadata.name".to_owned(), Test::In(vec![name.to_owned()])));
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name that a field selector asks for, as RBAC's `resourceNames` would see it.
    pub(super) fn name(&self) -> Option<&str> {
        self.fields.iter().find_map(|(path, test)| match test {
            Test::In(values) if path == "metadata.name" => values.first().map(String::as_str),
            _ => None,
        })
    }

    pub(super) fn accepts(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels
            .iter()
            .all(|(key, test)| test.accepts(labels[key].as_str()))
            && self.fields.iter().all(|(path, test)| {
                let found = path.split('.').fold(object, |value, step| &value[step]);
                // An absent field compares as the empty string, as in the real server.
                test.accepts(Some(found.as_str().unwrap_or_default()))
            })
    }
}

/// Splits at commas that stand outside parentheses.
fn split_requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

/// `key=value`, `key==value` and `key!=value`, which labels and fields share.
fn parse_equality(text: &str) -> Option<(String, Test)> {
    let (key, value, negated) = if let Some((key, value)) = text.split_once("!=") {
        (key, value, true)
    } else {
        let (key, value) = text.split_once('=')?;
        (key, value.strip_prefix('=').unwrap_or(value), false)
    };
    let values = vec![value.trim().to_owned()];
    Some((
        key.trim().to_owned(),
        if negated {
            Test::NotIn(values)
        } else {
            Test::In(values)
        },
    ))
}

fn parse_label(text: &str) -> Result<(String, Test), ApiError> {
    if let Some(key) = text.strip_prefix('!') {
        return Ok((key.trim().to_owned(), Test::Absent));
    }
    if let Some((head, list)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let values = list.split(',').map(|v| v.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => Ok((key.to_owned(), Test::In(values))),
            (Some(key), Some("notin"), None) => Ok((key.to_owned(), Test::NotIn(values))),
            _ => Err(unparsable(text)),
        };
    }
    if let Some(parsed) = parse_equality(text) {
        return Ok(parsed);
    }
    if text.split_whitespace().nth(1).is_some() {
        return Err(unparsable(text));
    }
    Ok((text.to_owned(), Test::Exists))
}

fn parse_field(requirement: &str) -> Result<(String, Test), ApiError> {
    /// The fields that the real server supports for the kinds that the sandbox serves.
    const SUPPORTED: [&str; 6] = [
        "metadata.name",
        "metadata.namespace",
        "spec.nodeName",
        "spec.restartPolicy",
        "status.phase",
        "status.podIP",
    ];
    let (field, test) = parse_equality(requirement).ok_or_else(|| unparsable(requirement))?;
    if SUPPORTED.contains(&field.as_str()) {
        Ok((field, test))
    } else {
        Err(ApiError::bad_request(format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )))
    }
}

fn unparsable(text: &str) -> ApiError {
    ApiError::bad_request(format!("unable to parse requirement: {text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_label_selector_accepts_what_kubectl_documents() {
        let pod = json!({"metadata": {"name": "a-0", "labels": {"app": "core", "tier": "x"}}});
        for (text, expected) in [
            ("", true),
            ("app=core", true),
            ("app==core,tier", true),
            ("app!=core", false),
            ("other!=core", true),
            ("app in (core, db),!other", true),
            ("app notin (core)", false),
            ("!tier", false),
        ] {
            assert_eq!(
                Selector::parse(text, "").unwrap().accepts(&pod),
                expected,
                "{text}"
            );
        }
        assert!(
            Selector::parse("", "metadata.name=a-0")
                .unwrap()
                .accepts(&pod)
        );
        assert!(
            !Selector::parse("", "metadata.name!=a-0")
                .unwrap()
                .accepts(&pod)
        );
        assert_eq!(Selector::parse("", "spec.unknown=1").unwrap_err().code, 400);
    }

    #[test]
    fn expressions_of_an_object_are_read_like_those_of_a_query() {
        let selector = json!({
            "matchLabels": {"app": "core"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["y"]}],
        });
        let selector = Selector::from_label_selector(&selector);
        assert!(selector.accepts(&json!({"metadata": {"labels": {"app": "core"}}})));
        assert!(!selector.accepts(&json!({"metadata": {"labels": {"app": "core", "tier": "y"}}})));
        assert!(Selector::from_label_selector(&Value::Null).accepts(&json!({})));
    }
}
