//! A report for people: a line a finding, and under it what it means and the way out.

use anstyle::Style;

use super::finding::{Finding, Outcome, Report};
use crate::cli::output::{BAD, BOLD as HEADING, CAUTION, DIM, GOOD, line};

/// Columns of a line, where words allow.
const WIDTH: usize = 100;
/// Where the page stands behind a short way out.
const PAGE_COLUMN: usize = 64;

impl Outcome {
    const fn mark(self) -> char {
        match self {
            Self::Pass => '√',
            Self::Warning => '‼',
            Self::Failed => '×',
            Self::Skipped => '-',
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Pass => GOOD,
            Self::Warning => CAUTION,
            Self::Failed => BAD,
            Self::Skipped => DIM,
        }
    }
}

/// The report as text, with colours that whoever prints it may take out.
pub(super) fn render(report: &Report) -> String {
    let mut text = Vec::new();
    let mut group = None;
    for finding in &report.findings {
        if group.replace(finding.check.group()) != Some(finding.check.group()) {
            let name = finding.check.group().name();
            let line = "-".repeat(name.len());
            text.push(format!("{HEADING}{name}{HEADING:#}"));
            text.push(format!("{DIM}{line}{DIM:#}"));
        }
        text.extend(lines(finding));
    }
    text.push(summary(report));
    text.join("\n") + "\n"
}

fn lines(finding: &Finding) -> Vec<String> {
    let (mark, style) = (finding.outcome.mark(), finding.outcome.style());
    let indented = |line: String| format!("    {line}");
    let mut seen = wrapped(&line(&finding.text)).into_iter();
    let first = seen.next().unwrap_or_default();
    let mut text = vec![format!("{style}{mark}{style:#} {first}")];
    text.extend(seen.map(indented));
    let means = finding
        .means
        .as_deref()
        .map(|means| wrapped(&line(means)))
        .unwrap_or_default();
    text.extend(means.into_iter().map(indented));
    if finding.outcome == Outcome::Pass {
        return text;
    }
    let page = finding.docs();
    let fix = finding.fix.as_ref();
    let fix = fix
        .map(|fix| wrapped(&line(&format!("fix: {fix}"))))
        .unwrap_or_default();
    match &fix[..] {
        [line] if line.chars().count() + 6 <= PAGE_COLUMN => {
            let columns = PAGE_COLUMN - 4;
            text.push(format!("    {line:columns$}{DIM}{page}{DIM:#}"));
        }
        _ => {
            text.extend(fix.into_iter().map(indented));
            text.push(format!("    {DIM}see: {page}{DIM:#}"));
        }
    }
    text
}

fn summary(report: &Report) -> String {
    let warnings = report.count(Outcome::Warning);
    let plural = if warnings == 1 { "" } else { "s" };
    let counts = [
        (report.count(Outcome::Pass), "passed".to_owned()),
        (warnings, format!("warning{plural}")),
        (report.count(Outcome::Failed), "failed".to_owned()),
        (report.count(Outcome::Skipped), "not looked at".to_owned()),
    ];
    let told = counts
        .iter()
        .filter(|(count, word)| *count > 0 || word == "passed");
    let told: Vec<String> = told
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    told.join(", ")
}

/// In lines that leave room for what stands in front of them. A longer word keeps its line to itself.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() + 5 < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::finding::Check;

    fn plain(report: &Report) -> String {
        anstream::adapter::strip_str(&render(report)).to_string()
    }

    #[test]
    fn nothing_from_the_cluster_moves_a_cursor() {
        let mut report = Report::default();
        let evil = "with \u{1b}]0;title\u{7} and \u{1b}[2J";
        report.add([Finding::failed(Check::Lease, evil).means(evil).fix(evil)]);
        let styles = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m"];
        let ours = |text: String| {
            styles
                .iter()
                .fold(text, |text, style| text.replace(style, ""))
        };
        let text = ours(render(&report));
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    }

    #[test]
    fn findings_stand_under_their_headings_with_what_they_mean_and_a_way_out() {
        let mut report = Report::default();
        report.add([
            Finding::pass(Check::Injects, "a StatefulSet came back injected"),
            Finding::warning(Check::FailSingle, "failurePolicy is Fail with 1 replica")
                .means("one evicted pod stops new StatefulSets")
                .fix("replicaCount=2 in the chart's values"),
            Finding::skipped(Check::Namespaces, "may not list ConfigMaps"),
            Finding::failed(Check::SharedSeed, "validator-3: 2 replicas, one seed"),
        ]);
        let expected = "\
webhook
-------
√ a StatefulSet came back injected
‼ failurePolicy is Fail with 1 replica
    one evicted pod stops new StatefulSets
    fix: replicaCount=2 in the chart's values                   docs/checks.md#fail-single
validators
----------
- may not list ConfigMaps
    see: docs/checks.md#namespaces
× validator-3: 2 replicas, one seed
    see: docs/checks.md#shared-seed
1 passed, 1 warning, 1 failed, 1 not looked at
";
        assert_eq!(plain(&report), expected);
    }

    #[test]
    fn long_texts_are_wrapped_between_words_and_nothing_is_lost() {
        let words = "word ".repeat(60);
        let long = format!("{words}{}", "x".repeat(200));
        let mut report = Report::default();
        report.add([Finding::failed(Check::Lease, &long).means(&long).fix(&long)]);
        let text = plain(&report);
        let is_long = |line: &&str| line.chars().count() > WIDTH && !line.contains("xxx");
        assert_eq!(text.lines().filter(is_long).count(), 0, "{text}");
        assert_eq!(text.matches("word").count(), 180);
    }

    #[test]
    fn nothing_but_passes_is_one_short_line() {
        let mut report = Report::default();
        report.add([Finding::pass(Check::Lease, "x")]);
        assert!(plain(&report).ends_with("\n1 passed\n"));
    }
}
