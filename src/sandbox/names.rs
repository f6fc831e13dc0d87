//! The grammars of names, labels and keys, and how the server says that one is broken.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation`.

use serde_json::Value;

use super::error::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
    an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
    for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const DATA_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
    or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// RFC 1123 labels, joined by dots.
pub(super) fn subdomain(path: &str, name: &Value, causes: &mut Vec<Cause>) {
    let text = name.as_str().unwrap_or_default();
    if text.len() > 253 || !text.split('.').all(is_label) {
        causes.push(Cause::invalid(path, name, SUBDOMAIN));
    }
}

/// One RFC 1123 label.
pub(super) fn label(path: &str, name: &Value, causes: &mut Vec<Cause>) {
    let text = name.as_str().unwrap_or_default();
    if text.len() > 63 || !is_label(text) {
        causes.push(Cause::invalid(path, name, LABEL));
    }
}

/// Lower-case letters, digits and inner dashes.
pub(super) fn is_label(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(is_allowed)
}

/// The key of a label or an annotation: a name, perhaps behind a domain.
pub(super) fn qualified(path: &str, key: &str, causes: &mut Vec<Cause>) {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_domain = |prefix: &str| prefix.to_lowercase().split('.').all(is_label);
    if !is_name_part(name) || !prefix.is_none_or(is_domain) {
        causes.push(Cause::invalid(path, &key.into(), NAME_PART));
    }
}

/// A label's value.
pub(super) fn label_value(path: &str, value: &Value, causes: &mut Vec<Cause>) {
    let text = value.as_str().unwrap_or_default();
    if !text.is_empty() && !is_name_part(text) {
        causes.push(Cause::invalid(path, value, LABEL_VALUE));
    }
}

/// A key of a ConfigMap or a Secret.
pub(super) fn data_key(path: &str, key: &str, causes: &mut Vec<Cause>) {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if key.is_empty()
        || key.len() > 253
        || key == "."
        || key == ".."
        || !key.bytes().all(is_allowed)
    {
        causes.push(Cause::invalid(path, &key.into(), DATA_KEY));
    }
}

fn is_name_part(text: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(is_inner)
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
}
