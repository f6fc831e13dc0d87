//! Requests of people: what `kubectl` would send.

use http::Request;
use kube::Client;
use serde_json::{Value, json};
use stellar_peers::{api::names, sandbox::fixtures};

use crate::plan::{NAMESPACE, NewValidator, Shape};

/// An object that people touch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'a> {
    Node(&'a str),
    Set(&'a str),
    Pod(&'a str),
    List,
}

impl What<'_> {
    fn path(self) -> String {
        let (root, kind, name) = match self {
            Self::Node(name) => ("apis/stellar.org/v1alpha1", "stellarnodes", name),
            Self::Set(name) => ("apis/apps/v1", "statefulsets", name),
            Self::Pod(name) => ("api/v1", "pods", name),
            Self::List => ("api/v1", "configmaps", names::STELLAR_PEERS),
        };
        format!("/{root}/namespaces/{NAMESPACE}/{kind}/{name}")
    }
}

/// Somebody with `kubectl`. What is refused, for example since it is gone by now, is left at that.
#[derive(Clone)]
pub(crate) struct People(pub(crate) Client);

impl People {
    async fn send(&self, method: &str, path: String, content_type: &str, body: Value) -> bool {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type);
        let request = request
            .body(body.to_string().into_bytes())
            .expect("a request");
        self.0.request::<Value>(request).await.is_ok()
    }

    pub(crate) async fn merge(&self, what: What<'_>, change: Value) -> bool {
        self.send("PATCH", what.path(), "application/merge-patch+json", change)
            .await
    }

    pub(crate) async fn delete(&self, what: What<'_>, propagation: &str) -> bool {
        let options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation});
        self.send("DELETE", what.path(), "application/json", options)
            .await
    }

    /// Makes a validator; false where it could not be, for example since its name is taken.
    pub(crate) async fn create(&self, validator: &NewValidator) -> bool {
        let NewValidator {
            name,
            network,
            shape,
            port,
            quorum,
        } = validator;
        let object = match shape {
            Shape::Operator => {
                let mut node = fixtures::stellar_node(NAMESPACE, name, &[]);
                node["spec"]["network"] = (*network).into();
                node["spec"]["validatorConfig"]["peerPort"] = (*port).into();
                let toml = quorum.as_ref().map(crate::quorum::QuorumSet::to_toml);
                node["spec"]["validatorConfig"]["quorumSet"] = toml.into();
                node
            }
            Shape::Chart => {
                let mut set = fixtures::chart_stateful_set(NAMESPACE, name);
                set["metadata"]["labels"][names::LABEL_NETWORK] = (*network).into();
                set["metadata"]["annotations"] = json!({names::PORT: port.to_string()});
                set
            }
        };
        fixtures::create(&self.0, &object).await.is_ok()
    }
}
