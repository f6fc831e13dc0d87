//! The table of values: `values.yaml` with its comments, as Markdown.

use serde_json::Value;

/// One value with a comment above it.
pub(crate) struct Row {
    /// Such as `tls.mode`.
    pub(crate) path: String,
    default: Value,
    description: String,
}

/// What a comment stands above, in the order of the file. Each value is under one.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let values: Value = serde_saphyr::from_str(text).expect("values.yaml is YAML");
    let (mut rows, mut keys, mut comment) = (Vec::new(), Vec::<&str>::new(), Vec::new());
    // Deeper than this is part of the value above.
    let mut inside = usize::MAX;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let depth = (line.len() - trimmed.len()) / 2;
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        if trimmed.is_empty() {
            comment.clear();
            continue;
        }
        if depth > inside {
            continue;
        }
        inside = usize::MAX;
        let (key, value) = trimmed.split_once(':').expect("a key");
        keys.truncate(depth);
        keys.push(key);
        if comment.is_empty() {
            assert!(value.is_empty(), "{} has no comment", keys.join("."));
            continue;
        }
        inside = depth;
        rows.push(Row {
            path: keys.join("."),
            default: values[keys[0]]
                .pointer(&pointer(&keys[1..]))
                .expect("it is there")
                .clone(),
            description: std::mem::take(&mut comment).join(" "),
        });
    }
    rows
}

fn pointer(keys: &[&str]) -> String {
    keys.iter().flat_map(|key| ["/", key]).collect()
}

pub(crate) fn table(text: &str) -> String {
    let row = |row: Row| {
        let Row {
            path,
            default,
            description,
        } = row;
        format!("| `{path}` | `{default}` | {description} |")
    };
    let head = ["| value | default | what it is |", "|---|---|---|"];
    let rows = rows(text).into_iter().map(row);
    let lines: Vec<String> = head.map(str::to_owned).into_iter().chain(rows).collect();
    lines.join("\n") + "\n"
}
