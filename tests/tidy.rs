//! The rules about the source itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use stellar_peers::{
    controller::{error::ReconcileError, lease::Leadership},
    domain::{
        injection::CannotRender,
        rollout::{Notice, Stale},
    },
    observe::{Board, Metrics},
};

#[expect(dead_code, reason = "what writes files is for the benchmarks")]
#[path = "../benches/shared/page.rs"]
mod page;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the tree") {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).expect("source is text");
                let inside = path.strip_prefix(root()).expect("it is inside").to_owned();
                found.insert(inside, text);
            }
        }
    }
    found
}

/// The text without comments: what the compiler sees, near enough.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_source_file_is_reached_by_a_mod() {
    let all: BTreeMap<_, _> = ["src", "crates", "tests", "benches"]
        .iter()
        .flat_map(|folder| sources(folder))
        .collect();
    let declared: BTreeSet<String> = all
        .values()
        .flat_map(|text| code(text).lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let line = line
                .trim()
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ")
                .to_owned();
            Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
        })
        .collect();
    for path in all.keys() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = if name == "mod" {
            path.parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
        } else {
            name
        };
        let is_root = [
            "src/lib.rs",
            "crates/json/src/lib.rs",
            "src/main.rs",
            "tests/tidy.rs",
            "tests/chart/main.rs",
            "tests/instructions/main.rs",
            "tests/mutants/main.rs",
            "tests/page/main.rs",
            "tests/scenarios/main.rs",
            "tests/simulation/main.rs",
            "benches/discovery/main.rs",
            "benches/scale/main.rs",
            "benches/webhook/main.rs",
        ]
        .contains(&path.to_str().unwrap());
        assert!(
            is_root || declared.contains(module),
            "{} is in no mod",
            path.display()
        );
    }
}

#[test]
fn the_core_knows_no_client_no_clock_and_no_runtime() {
    let impure = [
        "kube::Client",
        "Client,",
        "tokio",
        "async ",
        ".await",
        "Instant",
        "SystemTime",
        "::now()",
        "std::env",
        "std::fs",
        "HashMap",
        "HashSet",
        "rand::",
        "tracing",
        "println!",
    ];
    for (path, text) in sources("src/domain") {
        for word in impure {
            assert!(
                !code(&text).contains(word),
                "{} names {word:?}",
                path.display()
            );
        }
    }
}

#[test]
fn the_documentation_names_exactly_the_metrics_that_there_are() {
    let metrics = Metrics::new(Arc::new(Board::default()), Leadership::fixed(true));
    let text = metrics.encode().unwrap();
    let exported: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let documented: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(exported, documented);
}

/// Words such as `"NotReady"` in a file's code.
fn quoted_words(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).expect("source is text");
    let text = code(&text);
    let words = text.split('"').skip(1).step_by(2);
    let is_word = |word: &&str| {
        word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphanumeric)
    };
    words.filter(is_word).map(str::to_owned).collect()
}

#[test]
fn the_sets_of_reasons_are_whole() {
    let of = |all: &[&str]| {
        all.iter()
            .map(|it| (*it).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let errors = quoted_words("src/controller/error.rs");
    assert_eq!(of(&ReconcileError::REASONS), errors);
    let stale = Stale::ALL.map(Stale::reason);
    let restarts = quoted_words("src/domain/rollout/verdict.rs");
    assert!(restarts.is_superset(&of(&stale)));
    let mut notices = quoted_words("src/domain/rollout/notices.rs");
    notices.extend(quoted_words("src/domain/rollout/room.rs"));
    assert_eq!(of(&Notice::REASONS), notices);
    let page = fs::read_to_string(root().join("docs/events.md")).unwrap();
    for reason in Notice::REASONS {
        assert!(
            page.contains(&format!("`{reason}`")),
            "{reason} is not documented"
        );
    }
}

#[test]
fn the_documentation_names_exactly_the_reasons_for_and_against_a_restart() {
    let source = fs::read_to_string(root().join("src/domain/rollout/verdict.rs")).unwrap();
    let told: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.split_once(" => \"")?.1.strip_suffix("\","))
        .filter(|word| !word.contains(' '))
        .collect();
    let page = fs::read_to_string(root().join("docs/restarts.md")).unwrap();
    let documented: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|word| word.chars().all(char::is_alphanumeric))
        .collect();
    assert_eq!(told, documented);
}

#[test]
fn the_documentation_names_each_reason_why_a_list_is_only_mounted() {
    let some = || "x".to_owned();
    let all = [
        CannotRender::Unnamed,
        CannotRender::Ambiguous(some(), some()),
        CannotRender::UnclearPath(some()),
        CannotRender::NoVolume(some()),
        CannotRender::NoFile {
            volume: some(),
            file: some(),
        },
        CannotRender::FileMount(some()),
        CannotRender::Expression(some()),
        CannotRender::VolumeNameTaken,
        CannotRender::UnknownUser(some()),
        CannotRender::GeneratedName,
    ];
    let page = fs::read_to_string(root().join("docs/injection.md")).unwrap();
    for why in all {
        // A new reason has to be told here, in the list above and on the page.
        let told = match why {
            CannotRender::Unnamed => "no argument --conf names its file",
            CannotRender::Ambiguous(..) => "its arguments name ",
            CannotRender::UnclearPath(_) => "is no plain absolute path",
            CannotRender::NoVolume(_) => "is from no ConfigMap, Secret or projected volume",
            CannotRender::NoFile { .. } => "has no file ",
            CannotRender::FileMount(_) => "is mounted by itself; mount its folder instead",
            CannotRender::Expression(_) => "has a subPathExpr",
            CannotRender::VolumeNameTaken => "volume stellar-peers-config is somebody else's",
            CannotRender::UnknownUser(_) => "and neither runAsUser nor fsGroup is set",
            CannotRender::GeneratedName => "its name is generated",
        };
        assert!(why.to_string().contains(told), "{why}");
        let is_row = |line: &str| line.starts_with("| ") && line.contains(told);
        assert!(page.lines().any(is_row), "{told:?} is not documented");
    }
}

/// Words that stand in these files as reasons of Events.
#[test]
fn every_reason_of_an_event_is_in_the_documentation() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let page = read("docs/events.md") + &read("docs/restarts.md");
    // What only another pass is needed for is in the log alone.
    let without_event = ["Conflict", "Outdated", "Silent", "Terminating", "Api"];
    let mut reasons = BTreeSet::new();
    for file in [
        "src/controller/error.rs",
        "src/controller/reconcile.rs",
        "src/controller/restart.rs",
        "src/controller/tell.rs",
        "src/domain/rollout/notices.rs",
        "src/domain/rollout/room.rs",
    ] {
        let text = code(&read(file));
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let product = product.replace("debug_struct(\"Context\")", "");
        let literals = product.split('"').skip(1).step_by(2);
        let is_reason = |it: &&str| {
            it.len() > 3
                && it.chars().all(|c| c.is_ascii_alphabetic())
                && it.starts_with(|c: char| c.is_ascii_uppercase())
        };
        reasons.extend(literals.filter(is_reason).map(str::to_owned));
    }
    assert!(
        reasons.contains("RestartFinished") && reasons.contains("Immutable"),
        "{reasons:?}"
    );
    let missing = reasons.iter().filter(|reason| {
        !without_event.contains(&reason.as_str()) && !page.contains(&format!("`{reason}`"))
    });
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_measured_block_is_put_in_its_place_and_nothing_else_of_the_page_changes() {
    let block = |name: &str, text: &str| format!("<!-- measured: {name} -->\n{text}<!-- end -->\n");
    let page = format!(
        "# Page\n{}between\n{}after\n",
        block("a", ""),
        block("b", "\nold\n\n")
    );
    let expected = format!(
        "# Page\n{}between\n{}after\n",
        block("a", ""),
        block("b", "\nnew\n\n")
    );
    assert_eq!(page::replaced(&page, "b", "new\n"), Some(expected.clone()));
    assert_eq!(page::replaced(&expected, "b", "\nnew"), Some(expected));
    assert_eq!(page::replaced(&page, "c", "new"), None);
    assert_eq!(
        page::replaced("<!-- measured: a -->\nno end\n", "a", "new"),
        None
    );
}

#[test]
fn the_page_of_benchmarks_has_the_block_of_each_of_them() {
    let text = fs::read_to_string(root().join("docs/benchmarks.md")).unwrap();
    let begins = text.matches("<!-- measured: ").count();
    assert_eq!(begins, text.matches("<!-- end -->").count());
    for name in ["webhook", "scale"] {
        assert!(page::replaced(&text, name, "").is_some(), "{name}");
    }
}
