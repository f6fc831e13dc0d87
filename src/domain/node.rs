//! Names of nodes and networks.
//!
//! Each stands in many places at once, and a pass over thousands of validators makes more: copies share one text.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Name of a node: that of its StatefulSet, and of its StellarNode where it has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// A name that no Kubernetes object can have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no object name: 1 to 253 of a-z, 0-9, '-' and '.' are allowed")]
pub struct InvalidNodeName(String);

impl NodeName {
    /// Takes a name as Kubernetes allows it (RFC 1123 subdomain, its characters and length).
    ///
    /// # Errors
    /// [`InvalidNodeName`] for any other text, so that no name can break out of a line, a path or a key.
    pub fn new(name: &str) -> Result<Self, InvalidNodeName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        // Neither `.` nor `..` is a name: in a path they would lead elsewhere.
        let has_labels = name.split('.').all(|label| !label.is_empty());
        if name.len() <= 253 && has_labels && name.chars().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidNodeName(name.chars().take(300).collect()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a Stellar network, lower case; empty where nothing names one.
///
/// Nodes of different networks share a ConfigMap and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(Arc<str>);

impl Network {
    /// Two spellings that differ only in case are one network.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.trim().to_lowercase().into())
    }

    /// The network of nodes that name none.
    #[must_use]
    pub fn unnamed() -> Self {
        Self::default()
    }

    /// The name as text of one's own.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.to_string()
    }

    /// From a StellarNode: a name, or (in one of the operator's copies) a variant with a value, taken whole.
    #[must_use]
    pub fn from_spec(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::String(name) => Some(Self::new(name)),
            other => Some(Self::new(&other.to_string())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "(unnamed)"
        } else {
            &self.0
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_kubernetes_refuses_is_no_node_name() {
        let long = "x".repeat(254);
        for bad in [
            "", "Upper", "a/b", "a\nb", "ü", "a\0", ".", "..", "../..", "a..b", ".a", "a.", &long,
        ] {
            assert!(NodeName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            NodeName::new("validator-1").unwrap().as_str(),
            "validator-1"
        );
    }

    #[test]
    fn networks_are_compared_without_case() {
        assert_eq!(
            Network::from_spec(&json!("Testnet")),
            Some(Network::new("testnet"))
        );
        assert_eq!(Network::from_spec(&json!(null)), None);
        assert_eq!(
            Network::from_spec(&json!({"Custom": "My Net"})),
            Network::from_spec(&json!({"custom": "my net"}))
        );
    }
}
