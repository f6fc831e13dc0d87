//! What the checks come to, as plain values: what is printed, and what decides the exit code.

use std::fmt::Display;

use serde::Serialize;

use super::ask::Unseen;

/// Under which heading a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    /// The cluster itself.
    Cluster,
    /// Our processes and what they may do.
    Service,
    /// Whether the API server calls us.
    Webhook,
    /// The namespaces with validators.
    Validators,
}

impl Group {
    /// The heading.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Service => "service",
            Self::Webhook => "webhook",
            Self::Validators => "validators",
        }
    }
}

/// Declares the checks, each with its group and its id: the same word as in JSON and as the anchor of its section in
/// docs/checks.md.
macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $group:ident, $id:literal;)*) => {
        /// What is looked at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Check {
            $($(#[$doc])* $variant,)*
        }

        impl Check {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word that never changes.
            pub(super) const fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }

            /// The heading under which it stands.
            pub(super) const fn group(self) -> Group {
                match self {
                    $(Self::$variant => Group::$group,)*
                }
            }
        }
    };
}

checks! {
    /// Somebody answers, and knows us.
    ApiServer = Cluster, "api-server";
    /// A version that we are tested with.
    Version = Cluster, "version";
    /// The kind StellarNode is served.
    Kind = Cluster, "stellarnode-kind";
    /// Its schema keeps the port.
    PeerPort = Cluster, "peer-port";
    /// Where the service is.
    Installation = Service, "installation";
    /// Somebody leads.
    Lease = Service, "lease";
    /// How many replicas are behind the Service.
    Replicas = Service, "replicas";
    /// What its account may do.
    Rights = Service, "rights";
    /// What /readyz says.
    Ready = Service, "ready";
    /// The API server is told of the webhook.
    Registered = Webhook, "registered";
    /// The CA that it is told to trust.
    CaBundle = Webhook, "ca-bundle";
    /// The certificate that is shown.
    Certificate = Webhook, "certificate";
    /// What a lost webhook stops.
    FailSingle = Webhook, "fail-single";
    /// Where it stops it.
    FailEverywhere = Webhook, "fail-everywhere";
    /// How long the API server waits.
    WebhookTimeout = Webhook, "webhook-timeout";
    /// A StatefulSet that is created comes back injected.
    Injects = Webhook, "injects";
    /// Which namespaces are looked at.
    Namespaces = Validators, "namespaces";
    /// A namespace can be read.
    Namespace = Validators, "namespace";
    /// The list says who is there.
    ListCurrent = Validators, "list-current";
    /// The list can be written.
    ListImmutable = Validators, "list-immutable";
    /// The record in the list can be read.
    ListRecord = Validators, "list-record";
    /// The list is ours.
    ListWriter = Validators, "list-writer";
    /// The list has somebody.
    ListEmpty = Validators, "list-empty";
    /// Each validator can be a peer.
    NotListed = Validators, "not-listed";
    /// Each validator is Ready.
    NotReady = Validators, "not-ready";
    /// Each validator has a seed of its own.
    SharedSeed = Validators, "shared-seed";
    /// The list reaches stellar-core's file.
    NotRendered = Validators, "not-rendered";
    /// Declared quorum sets can be read.
    QuorumUnreadable = Validators, "quorum-unreadable";
    /// Restarts come to their end.
    StuckRestart = Validators, "stuck-restart";
    /// StatefulSets that nobody asked us to take in.
    NotOptedIn = Validators, "not-opted-in";
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// As it should be.
    Pass,
    /// It works, and a person should know.
    Warning,
    /// It doesn't work.
    Failed,
    /// Not looked at: not allowed, not asked for, or out of reach.
    Skipped,
}

/// One line, and for others than a pass what it means and a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) outcome: Outcome,
    /// About which object, as `Kind namespace/name`.
    pub(super) object: Option<String>,
    /// What was seen.
    pub(super) text: String,
    /// What follows from it.
    pub(super) means: Option<String>,
    /// A way out.
    pub(super) fix: Option<String>,
}

impl Finding {
    fn new(check: Check, outcome: Outcome, text: impl Display) -> Self {
        Self {
            check,
            outcome,
            object: None,
            text: text.to_string(),
            means: None,
            fix: None,
        }
    }

    /// As it should be.
    pub(super) fn pass(check: Check, text: impl Display) -> Self {
        Self::new(check, Outcome::Pass, text)
    }

    /// It works, and a person should know.
    pub(super) fn warning(check: Check, text: impl Display) -> Self {
        Self::new(check, Outcome::Warning, text)
    }

    /// It doesn't work.
    pub(super) fn failed(check: Check, text: impl Display) -> Self {
        Self::new(check, Outcome::Failed, text)
    }

    /// Not looked at.
    pub(super) fn skipped(check: Check, text: impl Display) -> Self {
        Self::new(check, Outcome::Skipped, text)
    }

    /// What could not be read: skipped where that is not allowed, failed where the API server couldn't tell.
    pub(super) fn unseen(check: Check, unseen: &Unseen) -> Self {
        if unseen.is_forbidden() {
            Self::skipped(check, unseen)
                .fix(format!("a kubeconfig whose account may {} it", unseen.verb))
        } else {
            Self::failed(check, unseen)
                .means("what is there can't be told")
                .fix("try again; then see the API server's log")
        }
    }

    /// About this object.
    pub(super) fn of(mut self, object: impl Display) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// What follows from it.
    pub(super) fn means(mut self, means: impl Display) -> Self {
        self.means = Some(means.to_string());
        self
    }

    /// A way out.
    pub(super) fn fix(mut self, fix: impl Display) -> Self {
        self.fix = Some(fix.to_string());
        self
    }

    /// The page and section that say more.
    pub(super) fn docs(&self) -> String {
        format!("docs/checks.md#{}", self.check.id())
    }
}

/// All findings, in the order in which they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Takes findings in.
    pub(super) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// How many came to this.
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        let these = self.findings.iter();
        these.filter(|it| it.outcome == outcome).count()
    }

    /// The object that `-o json` and `-o yaml` print.
    pub(super) fn object(&self) -> ReportObject<'_> {
        ReportObject {
            findings: self.findings.iter().map(FindingObject::from).collect(),
            passed: self.count(Outcome::Pass),
            warnings: self.count(Outcome::Warning),
            failed: self.count(Outcome::Failed),
            skipped: self.count(Outcome::Skipped),
        }
    }
}

/// A report as programs read it. Keys are never renamed or left out; new ones may come.
#[derive(Debug, Serialize)]
pub(super) struct ReportObject<'a> {
    findings: Vec<FindingObject<'a>>,
    passed: usize,
    warnings: usize,
    failed: usize,
    skipped: usize,
}

#[derive(Debug, Serialize)]
struct FindingObject<'a> {
    id: &'static str,
    group: Group,
    outcome: Outcome,
    object: Option<&'a str>,
    text: &'a str,
    means: Option<&'a str>,
    fix: Option<&'a str>,
    docs: String,
}

impl<'a> From<&'a Finding> for FindingObject<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            id: finding.check.id(),
            group: finding.check.group(),
            outcome: finding.outcome,
            object: finding.object.as_deref(),
            text: &finding.text,
            means: finding.means.as_deref(),
            fix: finding.fix.as_deref(),
            docs: finding.docs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_has_a_section_for_each_check_and_no_other() {
        let page = include_str!("../../../docs/checks.md");
        let sections: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .collect();
        let ids: Vec<&str> = Check::ALL.iter().map(|check| check.id()).collect();
        assert_eq!(sections, ids);
        let mut groups: Vec<Group> = Check::ALL.iter().map(|check| check.group()).collect();
        assert!(groups.is_sorted(), "checks of a group stand together");
        groups.dedup();
        let headings: Vec<&str> = groups.iter().map(|group| group.name()).collect();
        let chapters = page.lines().filter_map(|line| line.strip_prefix("## "));
        let chapters: Vec<String> = chapters.map(str::to_lowercase).collect();
        assert!(chapters.iter().map(String::as_str).eq(headings));
    }

    #[test]
    fn the_object_has_all_keys_whatever_was_found() {
        let mut report = Report::default();
        report.add([
            Finding::pass(Check::Version, "Kubernetes v1.35.4"),
            Finding::failed(Check::SharedSeed, "2 replicas")
                .of("StatefulSet a/b")
                .means("they contradict each other")
                .fix("one release per validator"),
        ]);
        let expected = json!({
            "findings": [
                {"id": "version", "group": "cluster", "outcome": "pass", "object": null, "text": "Kubernetes v1.35.4",
                 "means": null, "fix": null, "docs": "docs/checks.md#version"},
                {"id": "shared-seed", "group": "validators", "outcome": "failed", "object": "StatefulSet a/b",
                 "text": "2 replicas", "means": "they contradict each other", "fix": "one release per validator",
                 "docs": "docs/checks.md#shared-seed"},
            ],
            "passed": 1, "warnings": 0, "failed": 1, "skipped": 0,
        });
        assert_eq!(serde_json::to_value(report.object()).unwrap(), expected);
    }
}
