//! The admission call-out: which webhooks a write concerns, what they are asked, and what becomes of their answers.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/webhook/mutating`. `matchConditions` (CEL) are not evaluated: every
//! webhook is called as if they were true, so a webhook has to stand what its conditions would have kept away.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use k8s_openapi::ByteString;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::debug;

use super::{
    error::ApiError,
    kinds::Kind,
    object::{Key, Object, as_map, items, meta_str},
    ownership::same_metadata,
    patch,
    request::ApiRequest,
    selector::Selector,
    server::Inner,
    webhook::{ClientConfig, WebhookTransport},
    write::Draft,
};

/// One webhook of one configuration.
#[derive(Debug)]
struct Webhook {
    name: String,
    config: ClientConfig,
    settings: Value,
}

/// Why an answer could not be had or used.
enum Failure {
    /// The call failed: `failurePolicy` decides.
    Call(String),
    /// The write is refused.
    Refused(ApiError),
}

/// What an answer did.
struct Verdict {
    warnings: Vec<String>,
    has_changed: bool,
}

impl Inner {
    /// Lets the webhooks change or refuse a draft; gives back their warnings.
    pub(super) async fn admit(
        &self,
        request: &ApiRequest,
        draft: &mut Draft,
    ) -> Result<Vec<String>, ApiError> {
        let (webhooks, namespace) = self.webhooks(draft);
        let mut warnings = Vec::new();
        let mut asked_again = vec![false; webhooks.len()];
        let mut called = vec![false; webhooks.len()];
        for (index, webhook) in webhooks.iter().enumerate() {
            if !webhook.concerns(request, draft, namespace.as_ref()) {
                continue;
            }
            let verdict = self.ask(webhook, request, draft).await?;
            warnings.extend(verdict.warnings);
            if verdict.has_changed {
                let earlier = (0..index)
                    .filter(|&earlier| called[earlier] && webhooks[earlier].wants_reinvocation());
                earlier.for_each(|earlier| asked_again[earlier] = true);
            }
            called[index] = true;
        }
        for (webhook, _) in webhooks
            .iter()
            .zip(&asked_again)
            .filter(|(_, again)| **again)
        {
            if webhook.concerns(request, draft, namespace.as_ref()) {
                warnings.extend(self.ask(webhook, request, draft).await?.warnings);
            }
        }
        Ok(warnings)
    }

    /// All registered webhooks in the order in which they are called, and the draft's namespace.
    fn webhooks(&self, draft: &Draft) -> (Vec<Webhook>, Option<Arc<Object>>) {
        if draft.kind.group == "admissionregistration.k8s.io" {
            return (Vec::new(), None);
        }
        let state = self.state();
        let store = &state.store;
        let configurations = store.table(store.built_in(
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
        ));
        let webhooks = configurations
            .list("")
            .flat_map(|configuration| items(configuration.value(), "webhooks"));
        let webhooks = webhooks
            .map(|settings| Webhook {
                name: settings["name"].as_str().unwrap_or_default().to_owned(),
                config: ClientConfig::parse(&settings["clientConfig"]),
                settings: settings.clone(),
            })
            .collect();
        let namespaces = store.table(store.built_in("", "namespaces"));
        (
            webhooks,
            namespaces
                .get(&Key::new("", &*draft.key.namespace))
                .cloned(),
        )
    }

    async fn ask(
        &self,
        webhook: &Webhook,
        request: &ApiRequest,
        draft: &mut Draft,
    ) -> Result<Verdict, ApiError> {
        let uid = self.state().store.new_uid();
        let review = AdmissionReview {
            kind: "AdmissionReview",
            api_version: "admission.k8s.io/v1",
            request: admission_request(&uid, request, draft),
        };
        let timeout =
            Duration::from_secs(webhook.settings["timeoutSeconds"].as_u64().unwrap_or(10));
        let call = call(
            &*self.options.webhooks,
            webhook,
            timeout,
            review.to_bytes()?,
        );
        let outcome = match tokio::time::timeout(timeout, call).await {
            Ok(Ok(answer)) => apply_answer(webhook, &uid, &answer, draft),
            Ok(Err(failure)) => Err(Failure::Call(failure)),
            Err(_) => Err(Failure::Call("context deadline exceeded".to_owned())),
        };
        match outcome {
            Ok(verdict) => Ok(verdict),
            Err(Failure::Refused(refusal)) => Err(refusal),
            Err(Failure::Call(why)) if webhook.settings["failurePolicy"] == "Ignore" => {
                debug!(
                    webhook = webhook.name,
                    why, "Failed calling webhook, failing open"
                );
                Ok(Verdict {
                    warnings: Vec::new(),
                    has_changed: false,
                })
            }
            Err(Failure::Call(why)) => Err(ApiError::internal(format!(
                "failed calling webhook {:?}: failed to call webhook: {why}",
                webhook.name
            ))),
        }
    }
}

impl Webhook {
    fn wants_reinvocation(&self) -> bool {
        self.settings["reinvocationPolicy"] == "IfNeeded"
    }

    fn concerns(
        &self,
        request: &ApiRequest,
        draft: &Draft,
        namespace: Option<&Arc<Object>>,
    ) -> bool {
        let in_namespace = Selector::from_label_selector(&self.settings["namespaceSelector"]);
        let on_object = Selector::from_label_selector(&self.settings["objectSelector"]);
        let old = draft.old.as_deref().map(Object::value);
        items(&self.settings, "rules")
            .iter()
            .any(|rule| rule_matches(rule, request, draft))
            && namespace.is_none_or(|namespace| in_namespace.accepts(namespace.value()))
            && (on_object.accepts(&draft.new) || old.is_some_and(|old| on_object.accepts(old)))
    }
}

fn rule_matches(rule: &Value, request: &ApiRequest, draft: &Draft) -> bool {
    let has = |field: &str, wanted: &str| {
        items(rule, field)
            .iter()
            .any(|value| value == wanted || value == "*")
    };
    let in_scope = match rule["scope"].as_str() {
        Some("Namespaced") => draft.kind.namespaced,
        Some("Cluster") => !draft.kind.namespaced,
        _ => true,
    };
    let subresource = request.info.subresource.as_str();
    let concerns_resource = items(rule, "resources")
        .iter()
        .filter_map(Value::as_str)
        .any(|pattern| {
            let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
            (resource == "*" || resource == draft.kind.plural) && (sub == subresource || sub == "*")
        });
    in_scope
        && has("apiGroups", &draft.kind.group)
        && has("apiVersions", &draft.kind.version)
        && has("operations", operation(draft))
        && concerns_resource
}

fn operation(draft: &Draft) -> &'static str {
    if draft.old.is_none() {
        "CREATE"
    } else {
        "UPDATE"
    }
}

/// What a webhook is asked. The objects are the bulk of it, and are not copied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview<'a> {
    kind: &'a str,
    api_version: &'a str,
    request: AdmissionRequest<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest<'a> {
    uid: &'a str,
    name: &'a str,
    operation: &'a str,
    object: &'a Value,
    old_object: Option<&'a Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl AdmissionReview<'_> {
    fn to_bytes(&self) -> Result<Bytes, ApiError> {
        let bytes = serde_json::to_vec(self);
        bytes
            .map(Bytes::from)
            .map_err(|error| ApiError::internal(error.to_string()))
    }
}

fn admission_request<'a>(
    uid: &'a str,
    request: &ApiRequest,
    draft: &'a Draft,
) -> AdmissionRequest<'a> {
    let info = &request.info;
    let Kind {
        group,
        version,
        name: kind,
        plural,
        ..
    } = &*draft.kind;
    let gvk = json!({"group": group, "version": version, "kind": kind});
    let gvr = json!({"group": group, "version": version, "resource": plural});
    let is_creation = draft.old.is_none();
    let mut options = json!({
        "kind": if is_creation { "CreateOptions" } else { "UpdateOptions" }, "apiVersion": "meta.k8s.io/v1",
    });
    if !info.field_manager.is_empty() {
        options["fieldManager"] = info.field_manager.as_str().into();
    }
    let dry_run = !request.query.get("dryRun").is_empty();
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let mut rest = json!({
        "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
        "userInfo": {"username": info.user, "groups": ["system:authenticated"]},
        "dryRun": dry_run, "options": options,
    });
    if draft.kind.namespaced {
        rest["namespace"] = draft.key.namespace.as_str().into();
    }
    if !info.subresource.is_empty() {
        rest["subResource"] = info.subresource.as_str().into();
        rest["requestSubResource"] = info.subresource.as_str().into();
    }
    AdmissionRequest {
        uid,
        name: &draft.key.name,
        operation: operation(draft),
        object: &draft.new,
        old_object: draft.old.as_deref().map(Object::value),
        rest: std::mem::take(as_map(&mut rest)),
    }
}

async fn call(
    transport: &dyn WebhookTransport,
    webhook: &Webhook,
    timeout: Duration,
    body: Bytes,
) -> Result<Bytes, String> {
    let url = format!("{}?timeout={}s", webhook.config.url, timeout.as_secs());
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .body(body)
        .map_err(|error| error.to_string())?;
    let response = transport
        .call(&webhook.config, request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("the server answered {status}"));
    }
    Ok(response.into_body())
}

fn apply_answer(
    webhook: &Webhook,
    uid: &str,
    answer: &[u8],
    draft: &mut Draft,
) -> Result<Verdict, Failure> {
    let review: Value =
        serde_json::from_slice(answer).map_err(|error| Failure::Call(error.to_string()))?;
    let response = &review["response"];
    if review["kind"] != "AdmissionReview"
        || review["apiVersion"] != "admission.k8s.io/v1"
        || response.is_null()
    {
        return Err(Failure::Call(
            "received invalid webhook response: expected an admission.k8s.io/v1 AdmissionReview"
                .to_owned(),
        ));
    }
    if response["uid"] != uid {
        let why = format!(
            "received invalid webhook response: expected response.uid={uid:?}, got {}",
            response["uid"]
        );
        return Err(Failure::Call(why));
    }
    if response["allowed"] != true {
        return Err(Failure::Refused(denial(&webhook.name, &response["status"])));
    }
    let warnings = items(response, "warnings")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if response["patch"].is_null() {
        return Ok(Verdict {
            warnings,
            has_changed: false,
        });
    }
    if response["patchType"] != "JSONPatch" {
        let why = "received invalid webhook response: webhook returned response.patch but not response.patchType=JSONPatch";
        return Err(Failure::Call(why.to_owned()));
    }
    let before = draft.new.clone();
    apply_patch(&response["patch"], draft)
        .map_err(|error| Failure::Refused(ApiError::internal(error)))?;
    let has_changed = !same_metadata(&before["metadata"], &draft.new["metadata"])
        || ["spec", "data"]
            .iter()
            .any(|field| before[field] != draft.new[field]);
    Ok(Verdict {
        warnings,
        has_changed,
    })
}

/// Applies a webhook's patch, and the defaults to what it added.
fn apply_patch(encoded: &Value, draft: &mut Draft) -> Result<(), String> {
    let bytes = decode_bytes(encoded).ok_or("response.patch is not base64")?;
    let operations = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    patch::json(&mut draft.new, &operations)
        .map_err(|_| "the webhook's patch does not fit the object".to_owned())?;
    draft.new = (draft.kind.rules.prune)(draft.new.take()).map_err(|error| error.to_string())?;
    if meta_str(&draft.new, "name") != draft.key.name {
        return Err("the webhook changed the object's name".to_owned());
    }
    super::defaults::normalize(&mut draft.new, draft.kind.is_custom);
    (draft.kind.rules.default)(&mut draft.new);
    Ok(())
}

/// Go reads bytes from base64, and from an array of numbers, which is how kube's types write them.
fn decode_bytes(value: &Value) -> Option<Vec<u8>> {
    if let Some(numbers) = value.as_array() {
        return numbers
            .iter()
            .map(|number| number.as_u64().and_then(|number| u8::try_from(number).ok()))
            .collect();
    }
    serde_json::from_value::<ByteString>(value.clone())
        .ok()
        .map(|bytes| bytes.0)
}

/// Source: `webhookerrors.ToStatusErr`.
fn denial(webhook: &str, status: &Value) -> ApiError {
    let denied = format!("admission webhook {webhook:?} denied the request");
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let message = match text("message").or_else(|| text("reason")) {
        Some(why) => format!("{denied}: {why}"),
        None => format!("{denied} without explanation"),
    };
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| *code >= 400);
    ApiError::new(
        code.unwrap_or(400),
        text("reason").unwrap_or_default(),
        message,
    )
}
