//! Deletion: preconditions, grace, finalizers, propagation.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    draft::is_finished,
    error::ApiError,
    object::{Key, items, set_meta},
    request::ApiRequest,
    server::{Inner, State, view},
    store::TableId,
};

/// The finalizers by which the garbage collector is told how to treat dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

impl Inner {
    pub(super) fn delete(
        &self,
        id: TableId,
        request: &ApiRequest,
        body: &Bytes,
    ) -> Result<Answer, ApiError> {
        let options = delete_options(request, body)?;
        let key = Key::new(&*request.info.namespace, &*request.info.name);
        let mut state = self.state();
        state.store.set_author(Some(request.author()));
        let answer = self.delete_one(&mut state, id, &key, &options);
        state.store.set_author(None);
        answer
    }

    pub(super) fn delete_collection(
        &self,
        id: TableId,
        request: &ApiRequest,
        body: &Bytes,
    ) -> Result<Answer, ApiError> {
        let options = delete_options(request, body)?;
        let view = view(request)?;
        let mut state = self.state();
        let keys: Vec<_> = state
            .store
            .table(id)
            .list(&view.namespace)
            .filter(|object| view.accepts(object))
            .map(|object| Key::of(object.value()))
            .collect();
        state.store.set_author(Some(request.author()));
        let deleted = keys
            .iter()
            .try_for_each(|key| self.delete_one(&mut state, id, key, &options).map(drop));
        state.store.set_author(None);
        deleted?;
        Ok(Answer::json(
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
        ))
    }

    /// Deletes, or marks for deletion, one object.
    pub(super) fn delete_one(
        &self,
        state: &mut State,
        id: TableId,
        key: &Key,
        options: &Value,
    ) -> Result<Answer, ApiError> {
        let table = state.store.table(id);
        let kind = table.kind.clone();
        let object = table
            .get(key)
            .ok_or_else(|| ApiError::not_found(&kind, &key.name))?
            .clone();
        for (field, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let (wanted, is) = (options["preconditions"][field].as_str(), object.meta(field));
            if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
                return Err(ApiError::precondition(&kind, &key.name, what, wanted, is));
            }
        }
        let mut success = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": key.name, "kind": kind.plural, "uid": object.uid()},
        });
        if !kind.group.is_empty() {
            success["details"]["group"] = kind.group.as_ref().into();
        }
        if options["dryRun"]
            .as_array()
            .is_some_and(|stages| !stages.is_empty())
        {
            return Ok(Answer::json(&success));
        }
        let mut value = object.value().clone();
        let grace_seconds = if kind.is("", "pods") {
            pod_grace_seconds(&value, options)
        } else {
            0
        };
        // Deleting again shortens the grace, never lengthens it, and keeps the first date otherwise.
        let earlier = value["metadata"]["deletionGracePeriodSeconds"].as_u64();
        if earlier.is_none_or(|earlier| grace_seconds < earlier) {
            let date = self
                .clock
                .date_in(std::time::Duration::from_secs(grace_seconds));
            set_meta(&mut value, "deletionTimestamp", Some(date.into()));
            if !kind.is("", "namespaces") {
                set_meta(
                    &mut value,
                    "deletionGracePeriodSeconds",
                    Some(grace_seconds.into()),
                );
            }
            propagate(&mut value, options);
            if kind.is("", "namespaces") {
                value["status"]["phase"] = "Terminating".into();
            }
            if kind.counts_generation {
                let generation = value["metadata"]["generation"].as_u64().unwrap_or(0);
                set_meta(&mut value, "generation", Some((generation + 1).into()));
            }
        }
        if is_finished(&kind, &value) {
            state.remove(id, key);
            // Of a pod the last state is told, of anything else only that it is gone.
            return Ok(Answer::json(if kind.is("", "pods") {
                &value
            } else {
                &success
            }));
        }
        if value == *object.value() {
            return Ok(Answer::ok(object.json().clone()));
        }
        Ok(Answer::ok(state.put(id, value).json().clone()))
    }
}

/// From the body, or from the query as `kubectl delete --raw` sends it.
fn delete_options(request: &ApiRequest, body: &Bytes) -> Result<Value, ApiError> {
    let mut options = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(body).map_err(|e| {
            ApiError::bad_request(format!("couldn't decode the delete options: {e}"))
        })?
    };
    if let Some(seconds) = request.query.number("gracePeriodSeconds")? {
        options["gracePeriodSeconds"] = seconds.into();
    }
    let policy = request.query.get("propagationPolicy");
    if !policy.is_empty() {
        options["propagationPolicy"] = policy.into();
    }
    if !request.query.get("dryRun").is_empty() {
        options["dryRun"] = json!(["All"]);
    }
    Ok(options)
}

/// A pod that no kubelet has, or that has ended, goes at once.
fn pod_grace_seconds(pod: &Value, options: &Value) -> u64 {
    let has_ended = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if pod["spec"]["nodeName"].is_null() || has_ended {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap_or(30);
    options["gracePeriodSeconds"].as_u64().unwrap_or(own)
}

/// Notes for the garbage collector what is to become of dependents. Background, the default, needs no note.
fn propagate(value: &mut Value, options: &Value) {
    let finalizer = match options["propagationPolicy"].as_str() {
        Some("Foreground") => FOREGROUND,
        Some("Orphan") => ORPHAN,
        _ => return,
    };
    let mut finalizers = items(&value["metadata"], "finalizers").to_vec();
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(finalizer.into());
    }
    set_meta(value, "finalizers", Some(finalizers.into()));
}
