//! What the chart, the plain manifests and their pages say, against what the program is.
//!
//! What only Helm or an API server can tell is in `tests/scenarios/real/helm`. `UPDATE=1` writes what is generated
//! instead of comparing it: `make generate`.

use std::{collections::BTreeSet, fs, path::Path};

use clap::CommandFactory;
use serde::Serialize;
use serde_json::Value;
use stellar_peers::{
    admission::registration::{Endpoint, FailurePolicy, Registration},
    api::stellar_node_crd,
    cli::Cli,
};

mod monitoring;
mod values;

/// Flags of `run` that no value sets: a pod has its own account, and the image is built without feature `otel`.
const NOT_FOR_PODS: &[&str] = &["kubeconfig", "context", "help", "version", "otlp-endpoint"];

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The file holds this, or is made to.
fn is_generated(file: &str, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::write(path, expected).expect("the tree can be written");
    }
    assert!(
        read(file) == expected,
        "{file} is not what it is generated from: make generate"
    );
}

fn yaml(object: &impl Serialize) -> String {
    serde_saphyr::to_string(object).expect("objects serialize")
}

#[test]
fn the_chart_has_the_definition_that_the_program_prints() {
    let file = "charts/stellar-peers/files/stellarnode-crd.yaml";
    is_generated(file, &yaml(&stellar_node_crd()));
}

#[test]
fn the_plain_registration_is_what_the_program_prints() {
    let registration = Registration {
        endpoint: Endpoint::Service {
            namespace: "stellar-peers".to_owned(),
            name: "stellar-peers".to_owned(),
            port: 443,
        },
        ca_bundle: None,
        namespaces: Vec::new(),
        failure_policy: FailurePolicy::default(),
    };
    is_generated(
        "webhook-config/webhook.yaml",
        &yaml(&registration.to_object()),
    );
}

#[test]
fn the_readme_has_a_table_of_all_values() {
    const FILE: &str = "charts/stellar-peers/README.md";
    let table = values::table(&read("charts/stellar-peers/values.yaml"));
    let page = read(FILE);
    let (before, rest) = page.split_once("<!-- values -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of values -->").unwrap();
    let marked = format!("{before}<!-- values -->\n{table}<!-- end of values -->{after}");
    is_generated(FILE, &marked);
}

#[test]
fn every_flag_of_run_has_its_value_and_no_other_is_given() {
    let cli = Cli::command();
    let run = cli.find_subcommand("run").unwrap();
    let flags: BTreeSet<String> = run
        .get_arguments()
        .filter_map(|flag| flag.get_long())
        .filter(|flag| !NOT_FOR_PODS.contains(flag))
        .map(str::to_owned)
        .collect();
    let template = read("charts/stellar-peers/templates/deployment.yaml");
    let given: BTreeSet<String> = template
        .split("--")
        .skip(1)
        .map(|text| {
            let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
            text.chars().take_while(|c| is_name(*c)).collect::<String>()
        })
        .filter(|flag| !flag.is_empty())
        .collect();
    assert_eq!(given, flags);
}

#[test]
fn the_schema_knows_exactly_the_values_that_there_are() {
    let schema: Value =
        serde_json::from_str(&read("charts/stellar-peers/values.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    collect(&schema, "", &mut known);
    // Helm gives it to subcharts; an umbrella chart may have this one.
    known.remove("global");
    let defaults: Value =
        serde_saphyr::from_str(&read("charts/stellar-peers/values.yaml")).unwrap();
    for path in &known {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert!(
            defaults.pointer(&pointer).is_some(),
            "{path} has no default"
        );
    }
    let rows = values::rows(&read("charts/stellar-peers/values.yaml"));
    let documented: BTreeSet<String> = rows.into_iter().map(|row| row.path).collect();
    assert_eq!(documented, known);
}

/// Paths of what the schema knows: where it lists properties these, else the thing itself.
fn collect(schema: &Value, path: &str, known: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = [path, name].join(".").trim_start_matches('.').to_owned();
        let is_open = property["properties"].is_null() || path == "tls.certManager.issuerRef";
        if is_open {
            known.insert(path);
        } else {
            assert_eq!(
                property["additionalProperties"], false,
                "{path} takes anything"
            );
            collect(property, &path, known);
        }
    }
}

#[test]
fn the_chart_is_the_programs_version() {
    let chart: Value = serde_saphyr::from_str(&read("charts/stellar-peers/Chart.yaml")).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    let archive = concat!("stellar-peers-", env!("CARGO_PKG_VERSION"), "-image-");
    assert!(read("README.md").contains(archive));
}

#[test]
fn the_image_runs_as_the_user_of_the_chart() {
    let values: Value = serde_saphyr::from_str(&read("charts/stellar-peers/values.yaml")).unwrap();
    let pod = &values["podSecurityContext"];
    let user = format!("USER {}:{}", pod["runAsUser"], pod["runAsGroup"]);
    assert!(read("Dockerfile").lines().any(|line| line == user));
    // What is mounted from a Secret belongs to this group.
    assert_eq!(pod["fsGroup"], pod["runAsGroup"]);
}
