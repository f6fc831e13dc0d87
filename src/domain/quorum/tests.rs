//! What is read, whom it means, and whether a restart is tolerated: by tables, and against a slow and plain reference.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use proptest::prelude::*;

use super::*;
use crate::domain::fixtures::name;

const KEY: &str = "GAAZI4TCR3TY5OJHCTJC2A4QSY6CJWJH5IAJTGKIN2ER7LBNVKOCCWN7";
const OTHER_KEY: &str = "GCEZWKCA5VLDNRLN3RPRJMRZOX3Z6G5CHCGSNFHEYVXM3XOJMDS674JZ";

fn set(text: &str) -> QuorumSet {
    parse(text).unwrap().unwrap()
}

fn set_of(percent: usize, entries: &[&str]) -> QuorumSet {
    set(&format!(
        "[QUORUM_SET]\nTHRESHOLD_PERCENT = {percent}\nVALIDATORS = {entries:?}\n"
    ))
}

fn names(texts: &[&str]) -> Vec<NodeName> {
    texts.iter().map(|text| name(text)).collect()
}

fn problem(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The entries of the outermost level as they are shown, and its threshold.
fn outermost(text: &str) -> (usize, Vec<String>) {
    let top = set(text).top;
    let entries = top.entries.iter().map(Entry::to_string);
    (top.threshold, entries.collect())
}

/// The rule for the same declared set at each of `members`, who are all that there are.
fn tolerance_of_alike(
    set: &QuorumSet,
    members: &[&str],
    restarted: &str,
    down: &[&str],
) -> Tolerance {
    let members = names(members);
    tolerance(
        &members,
        members.iter().map(|member| (member, set)),
        restarted,
        down,
    )
}

fn tolerance<'a>(
    known: &'a [NodeName],
    declared: impl IntoIterator<Item = (&'a NodeName, &'a QuorumSet)>,
    restarted: &str,
    down: &[&str],
) -> Tolerance {
    let directory = Directory::new(known);
    let declared: Vec<_> = declared.into_iter().collect();
    Resolved::new(&directory, declared)
        .while_down(&names(down))
        .tolerance(&name(restarted))
}

fn exceeded(of: &str) -> Tolerance {
    Tolerance::Exceeded { of: name(of) }
}

fn zero(of: &str) -> Tolerance {
    Tolerance::Zero { of: name(of) }
}

#[test]
fn the_sets_of_the_operators_documents_are_read() {
    let with_alias =
        "[QUORUM_SET]\nTHRESHOLD_PERCENT = 66\nVALIDATORS = [\"$validator2\"]\n".to_owned();
    assert_eq!(outermost(&with_alias), (1, vec!["validator2".to_owned()]));
    let with_name = "[QUORUM_SET]\nTHRESHOLD_PERCENT = 50\nVALIDATORS = [\"validator-2\"]\n";
    assert_eq!(outermost(with_name), (1, vec!["validator-2".to_owned()]));
}

#[test]
fn a_text_without_a_quorum_set_declares_none() {
    for text in ["", "  \n\t\n", "# a remark", "CATCHUP_COMPLETE = true\n"] {
        assert_eq!(parse(text), Ok(None), "{text:?}");
    }
}

#[test]
fn a_set_that_stellar_core_makes_itself_is_not_taken_for_none() {
    let validators = format!(
        "[[HOME_DOMAINS]]\nHOME_DOMAIN = \"a\"\n[[VALIDATORS]]\nNAME = \"x\"\nPUBLIC_KEY = \"{KEY}\"\n"
    );
    for text in [
        &validators,
        "[[HOME_DOMAINS]]\nHOME_DOMAIN = \"a\"\n",
        "VALIDATORS = [{NAME = \"x\"}]",
    ] {
        assert_eq!(parse(text), Err(UnreadableQuorumSet::Generated), "{text:?}");
    }
    // Where both stand, stellar-core takes the set, and so do we; the names still count.
    let both = format!("{validators}[QUORUM_SET]\nVALIDATORS = [\"{KEY}\"]\n");
    assert_eq!(outermost(&both), (1, vec!["x".to_owned()]));
}

#[test]
fn the_threshold_is_the_percentage_rounded_up() {
    let thresholds = [
        (50, [1, 1, 2, 2, 3, 3, 4]),
        (66, [1, 2, 2, 3, 4, 4, 5]),
        (67, [1, 2, 3, 3, 4, 5, 5]),
        (100, [1, 2, 3, 4, 5, 6, 7]),
        (1, [1, 1, 1, 1, 1, 1, 1]),
    ];
    for (percent, expected) in thresholds {
        for (count, threshold) in (1..).zip(expected) {
            let names: Vec<String> = (0..count).map(|it| format!("v{it}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let found = set_of(percent, &names).top.threshold;
            assert_eq!(found, threshold, "{percent} % of {count}");
        }
    }
    let by_default = "[QUORUM_SET]\nVALIDATORS = [\"a\", \"b\", \"c\", \"d\"]";
    assert_eq!(outermost(by_default).0, 3);
}

#[test]
fn an_inner_set_counts_as_one_of_its_level() {
    let text = "[QUORUM_SET]\nTHRESHOLD_PERCENT = 100\nVALIDATORS = [\"a\"]\n\
                [QUORUM_SET.1]\nTHRESHOLD_PERCENT = 50\nVALIDATORS = [\"b\", \"c\"]\n\
                [QUORUM_SET.1.x]\nVALIDATORS = [\"d\"]\n";
    let found = set(text);
    assert_eq!(found.top.threshold, 2);
    let inner = &found.top.inner[0];
    assert_eq!((inner.threshold, inner.entries.len()), (2, 2));
    assert_eq!(inner.inner[0].entries, [Entry::Named("d".to_owned())]);
    // The same in a line.
    let line = "QUORUM_SET = {THRESHOLD_PERCENT = 100, VALIDATORS = [\"a\"], 1 = {THRESHOLD_PERCENT = 50, \
                VALIDATORS = [\"c\", \"b\"], x.VALIDATORS = [\"d\"]}}";
    assert_eq!(set(line), found);

    let known = names(&["a", "b", "c", "d", "e"]);
    let directory = Directory::new(&known);
    let holds = |down: &[&str]| {
        found.is_satisfied(&name("e"), &directory, |it| !down.contains(&it.as_str()))
    };
    assert!(holds(&[]) && holds(&["b"]) && holds(&["d"]));
    assert!(!holds(&["a"]) && !holds(&["b", "d"]) && !holds(&["b", "c"]));
}

#[test]
fn order_and_remarks_make_no_other_set_and_everything_else_does() {
    let plain = set_of(67, &["a", "b"]);
    assert_eq!(plain, set_of(67, &["b", "$a"]));
    assert_eq!(plain, set("[QUORUM_SET] # so\nVALIDATORS = [\"a\", \"b\"]"));
    let others = [
        set_of(50, &["a", "b"]),
        set_of(67, &["a", "c"]),
        set_of(67, &["ab"]),
        set_of(67, &["a", "b", "b"]),
        set_of(67, &["a", "$self"]),
        set("[QUORUM_SET]\nVALIDATORS = [\"a\"]\n[QUORUM_SET.1]\nVALIDATORS = [\"b\"]"),
    ];
    for other in &others {
        assert_ne!(&plain, other);
    }
}

#[test]
fn a_set_that_cannot_be_read_says_where_and_why() {
    for (body, expected) in [
        (
            "THRESHOLD_PERCENT = 0",
            "THRESHOLD_PERCENT of QUORUM_SET is no whole number",
        ),
        (
            "THRESHOLD_PERCENT = 101",
            "is no whole number from 1 to 100",
        ),
        ("THRESHOLD_PERCENT = -1", "is no whole number"),
        ("THRESHOLD_PERCENT = 66.7", "is no whole number"),
        ("THRESHOLD_PERCENT = \"66\"", "is no whole number"),
        ("", "QUORUM_SET names no validator and has no inner set"),
        ("VALIDATORS = []", "QUORUM_SET names no validator"),
        ("1.THRESHOLD_PERCENT = 5", "QUORUM_SET.1 names no validator"),
        ("VALIDATORS = \"a\"", "VALIDATORS of QUORUM_SET is no list"),
        (
            "VALIDATORS = [1]",
            "an entry in VALIDATORS of QUORUM_SET is no name",
        ),
        ("VALIDATORS = [\"a\", \" \"]", "an entry in VALIDATORS"),
        ("VALIDATORS = [\"$\"]", "an entry in VALIDATORS"),
        ("VALIDATOR = [\"a\"]", "QUORUM_SET.VALIDATOR is no table"),
        ("[[QUORUM_SET.a]]", "QUORUM_SET.a is no table"),
        ("VALIDATORS = [", "line 2 is no TOML: "),
    ] {
        let problem = problem(&format!("[QUORUM_SET]\n{body}"));
        assert!(problem.contains(expected), "{body:?}: {problem}");
    }
    for (text, expected) in [
        ("QUORUM_SET = 5", "QUORUM_SET is no table"),
        (
            "[[QUORUM_SET]]\nVALIDATORS = [\"a\"]",
            "QUORUM_SET is no table",
        ),
        ("VALIDATORS = [\"a\"]", "it has no [QUORUM_SET] line"),
        ("THRESHOLD_PERCENT = 67", "it has no [QUORUM_SET] line"),
        ("VALIDATORS:\n  - a\n", "line 1 is no TOML: "),
    ] {
        let problem = problem(text);
        assert!(problem.contains(expected), "{text:?}: {problem}");
    }
}

#[test]
fn sets_are_as_deep_and_as_large_as_stellar_core_takes_them() {
    let deep = |levels: usize| {
        let path = "QUORUM_SET".to_owned() + &".x".repeat(levels);
        format!("[{path}]\nVALIDATORS = [\"a\"]")
    };
    assert!(parse(&deep(4)).is_ok());
    assert_eq!(
        problem(&deep(5)),
        "QUORUM_SET.x.x.x.x.x is nested deeper than 4 levels"
    );
    let thousand = format!("[QUORUM_SET]\nVALIDATORS = [{}]", "\"a\",".repeat(1000));
    assert!(parse(&thousand).is_ok());
    let one_more = thousand + "\n[QUORUM_SET.1]\nVALIDATORS = [\"a\"]";
    assert_eq!(parse(&one_more), Err(UnreadableQuorumSet::TooManyEntries));
}

#[test]
fn no_error_repeats_a_value_of_the_text() {
    for text in [
        "NODE_SEED = SECRET self",
        "NODE_SEED = \"SECRET",
        "NODE_SEED = \"SECRET self\"\nNODE_SEED = \"SECRET self\"",
        "NODE_SEED = \"SECRET self\"\n[QUORUM_SET]\nVALIDATORS = [\"SECRET\", 1]",
        "[QUORUM_SET]\nTHRESHOLD_PERCENT = \"SECRET\"",
    ] {
        assert!(!format!("{:?}", parse(text)).contains("SECRET"), "{text:?}");
    }
}

#[test]
fn hostile_text_is_refused_quickly_and_without_a_crash() {
    let size = 1 << 20;
    let header = "[QUORUM_SET]\nVALIDATORS = ";
    let table = [
        format!("[{}]", vec!["a"; size / 2 - 1].join(".")),
        format!("{} = 1", vec!["a"; size / 2 - 2].join(".")),
        format!("a = {}", "[".repeat(size - 4)),
        format!("a = {}", "{a=".repeat(size / 3 - 2)),
        format!("{header}[{}", "\"a\",".repeat(size / 4 - 10)),
        format!("{header}[{}]", "\"a\",".repeat(size / 4 - 10)),
        "[a]\n".repeat(size / 4),
        "[QUORUM_SET]\n".repeat(size / 13),
        "= \n".repeat(size / 3),
        "\"".repeat(size),
        "\0".repeat(size),
        "\u{feff}\u{feff}".to_owned(),
        "x".repeat(size + 1),
    ];
    for text in table {
        let start: String = text.chars().take(40).collect();
        let error = parse(&text).expect_err(&start).to_string();
        assert!(error.len() < 1000, "{start:?}: {error}");
    }
    let long = format!("{header}[\"{}\\n\"]", "x".repeat(size - 100));
    let directory = Directory::new([]);
    let (member, set) = (name("a"), set(&long));
    let resolved = Resolved::new(&directory, [(&member, &set)]);
    let shown: Vec<&str> = resolved.unmapped(&member).collect();
    assert_eq!(shown, ["x".repeat(63) + "…"]);
}

#[test]
fn a_validator_is_found_by_its_name_and_else_where_only_one_is_nearly_called_so() {
    let known = names(&[
        "validator-1",
        "validator-2",
        "validator2",
        "a.b",
        "ab-c",
        "a-bc",
    ]);
    let directory = Directory::new(&known);
    for (text, expected) in [
        ("validator-1", Some("validator-1")),
        ("validator1", Some("validator-1")),
        ("Validator_1", Some("validator-1")),
        ("VALIDATOR.1", Some("validator-1")),
        ("validator-2", Some("validator-2")),
        ("validator2", Some("validator2")),
        ("validator_2", None),
        ("AB", Some("a.b")),
        ("abc", None),
        ("ab-c", Some("ab-c")),
        ("validator-10", None),
        ("validator", None),
        ("", None),
    ] {
        let found = directory.find(text).map(NodeName::as_str);
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn a_key_is_whoever_any_line_of_the_text_names_by_it() {
    let entries = format!("VALIDATORS = [\"{KEY}\", \"{OTHER_KEY}\"]\n");
    let (key, other) = ("GAAZI4TC…".to_owned(), "GCEZWKCA…".to_owned());
    let unnamed = format!("[QUORUM_SET]\n{entries}");
    assert_eq!(outermost(&unnamed).1, [key, other.clone()]);
    let by_node_names =
        format!("NODE_NAMES = [\"{KEY}   validator-2 and more\", 5]\n[QUORUM_SET]\n{entries}");
    assert_eq!(outermost(&by_node_names).1, ["validator-2", &other]);
    let by_entry = format!(
        "[QUORUM_SET]\n{entries}[QUORUM_SET.1]\nVALIDATORS = [\"{KEY} validator-2\", \"$validator-2\"]"
    );
    assert_eq!(outermost(&by_entry).1, ["validator-2", &other]);
    let own = format!("NODE_NAMES = [\"{KEY} self\"]\n[QUORUM_SET]\n{entries}");
    assert_eq!(outermost(&own).1, ["$self", &other]);
}

#[test]
fn a_member_itself_is_up_unless_it_is_down() {
    let both = set_of(100, &["$self", "b"]);
    // `$self` is whoever declares it: never the one that is restarted, whose own set doesn't count.
    assert_eq!(
        tolerance_of_alike(&both, &["a", "b", "c"], "c", &[]),
        Tolerance::Tolerated
    );
    assert_eq!(
        tolerance_of_alike(&both, &["a", "b", "c"], "c", &["a"]),
        exceeded("a")
    );
    assert_eq!(
        tolerance_of_alike(&both, &["a", "b", "c"], "b", &[]),
        zero("a")
    );
}

#[test]
fn three_at_67_percent_tolerate_none_and_four_tolerate_one() {
    let three = ["a", "b", "c"];
    let set_of_three = set_of(67, &three);
    assert_eq!(
        tolerance_of_alike(&set_of_three, &three, "a", &[]),
        zero("b")
    );
    assert_eq!(
        tolerance_of_alike(&set_of_three, &three, "b", &[]),
        zero("a")
    );
    let four = ["a", "b", "c", "d"];
    let set_of_four = set_of(67, &four);
    for (down, expected) in [
        (&[][..], Tolerance::Tolerated),
        (&["d"], Tolerance::Tolerated),
        (&["a"], exceeded("a")),
        (&["a", "d"], exceeded("a")),
        (&["a", "b"], exceeded("a")),
    ] {
        let found = tolerance_of_alike(&set_of_four, &four, "d", down);
        assert_eq!(found, expected, "{down:?}");
    }
}

#[test]
fn the_two_validators_of_the_operators_example_tolerate_nobody() {
    let known = names(&["validator-1", "validator-2"]);
    let sets = [set_of(50, &["validator-2"]), set_of(50, &["validator-1"])];
    let found = tolerance(&known, known.iter().zip(&sets), "validator-2", &[]);
    assert_eq!(found, zero("validator-1"));
}

#[test]
fn whom_we_cannot_map_counts_as_up() {
    let with_strangers = set_of(67, &["a", "b", KEY, "elsewhere"]);
    let members = ["a", "b"];
    assert_eq!(
        tolerance_of_alike(&with_strangers, &members, "b", &[]),
        Tolerance::Tolerated
    );
    assert_eq!(
        tolerance_of_alike(&with_strangers, &members, "b", &["a"]),
        exceeded("a")
    );
}

#[test]
fn one_who_is_gone_counts_as_down_while_it_is_in_the_directory() {
    let four = set_of(67, &["a", "b", "c", "gone"]);
    let members = names(&["a", "b", "c"]);
    let declared = || members.iter().map(|member| (member, &four));
    let known = names(&["a", "b", "c", "gone"]);
    assert_eq!(tolerance(&known, declared(), "a", &["gone"]), exceeded("b"));
    assert_eq!(
        tolerance(&members, declared(), "a", &["gone"]),
        Tolerance::Tolerated
    );
}

#[test]
fn what_is_too_much_now_outweighs_what_is_never_tolerated() {
    let known = names(&["a", "b", "c", "d", "e"]);
    let sets = [
        set_of(100, &["e"]),
        set_of(67, &["a", "c", "d", "e"]),
        set_of(1, &["a"]),
    ];
    let declared = || known.iter().zip(&sets);
    assert_eq!(tolerance(&known, declared(), "e", &[]), zero("a"));
    assert_eq!(tolerance(&known, declared(), "e", &["d"]), exceeded("b"));
    // One that declares nothing has no say, nor has the one that is restarted.
    assert_eq!(tolerance(&known, declared(), "a", &["d"]), exceeded("b"));
    assert_eq!(
        tolerance(&known, declared().take(1), "a", &["b", "c", "d", "e"]),
        Tolerance::Tolerated
    );
}

#[test]
fn a_set_tells_whom_it_names_and_whom_nobody_knows() {
    let known = names(&["validator-1", "validator-2", "validator-3"]);
    let directory = Directory::new(&known);
    let text = format!(
        "[QUORUM_SET]\nVALIDATORS = [\"$self\", \"$validator2\", \"zz\", \"{KEY}\"]\n\
         [QUORUM_SET.1]\nVALIDATORS = [\"VALIDATOR_2\", \"zz\", \"{OTHER_KEY} alias\", \"be\\u0007ll\"]\n"
    );
    let (one, three) = (&known[0], &known[2]);
    let (first, second) = (set(&text), set_of(67, &["validator-2"]));
    let resolved = Resolved::new(&directory, [(one, &first), (three, &second)]);
    let unmapped: Vec<&str> = resolved.unmapped(one).collect();
    assert_eq!(unmapped, ["GAAZI4TC…", "alias", "be\u{fffd}ll", "zz"]);
    assert_eq!(resolved.unmapped(three).count(), 0);
    assert_eq!(resolved.unmapped(&known[1]).count(), 0);
    let texts = |names: BTreeSet<&NodeName>| {
        let texts = names.into_iter().map(NodeName::to_string);
        texts.collect::<Vec<String>>()
    };
    assert_eq!(
        texts(resolved.names_of(one)),
        ["validator-1", "validator-2"]
    );
    assert_eq!(texts(resolved.names_of(three)), ["validator-2"]);
    assert_eq!(texts(resolved.names()), ["validator-1", "validator-2"]);
}

/// A set as the tests see it: validators by number, others as nobody.
#[derive(Clone, Debug)]
struct Model {
    percent: usize,
    picks: Vec<Pick>,
    inner: Vec<Model>,
}

#[derive(Clone, Copy, Debug)]
enum Pick {
    Own,
    /// A validator by number, in one of its spellings.
    Node(usize, u8),
    Stranger(u8),
}

const NODES: usize = 6;

fn node(number: usize) -> NodeName {
    name(&format!("node-{number}"))
}

impl Pick {
    fn text(self) -> String {
        match self {
            Self::Own => "$self".to_owned(),
            Self::Node(number, 0) => format!("node-{number}"),
            Self::Node(number, 1) => format!("$node{number}"),
            Self::Node(number, 2) => format!("$NODE_{number}"),
            Self::Node(number, _) => format!("{KEY} node-{number}"),
            Self::Stranger(0) => OTHER_KEY.to_owned(),
            Self::Stranger(_) => "elsewhere".to_owned(),
        }
    }
}

impl Model {
    fn text(&self, path: &str) -> String {
        let picks: Vec<String> = self.picks.iter().map(|pick| pick.text()).collect();
        let mut text = format!(
            "[{path}]\nTHRESHOLD_PERCENT = {}\nVALIDATORS = {picks:?}\n",
            self.percent
        );
        for (number, inner) in self.inner.iter().enumerate() {
            write!(text, "{}", inner.text(&format!("{path}.s{number}"))).unwrap();
        }
        text
    }

    /// The rule of stellar-core in the plainest words.
    fn holds(&self, own: usize, down: &BTreeSet<usize>) -> bool {
        let mut count = 0;
        let mut holding = 0;
        for pick in &self.picks {
            count += 1;
            let is_down = match pick {
                Pick::Own => down.contains(&own),
                Pick::Node(number, _) => down.contains(number),
                Pick::Stranger(_) => false,
            };
            holding += usize::from(!is_down);
        }
        for inner in &self.inner {
            count += 1;
            holding += usize::from(inner.holds(own, down));
        }
        holding * 100 >= count * self.percent
    }
}

fn any_model() -> impl Strategy<Value = Model> {
    let pick = prop_oneof![
        1 => Just(Pick::Own),
        6 => (0..NODES, 0..4_u8).prop_map(|(number, spelling)| Pick::Node(number, spelling)),
        1 => (0..2_u8).prop_map(Pick::Stranger),
    ];
    let picks = move |least| prop::collection::vec(pick.clone(), least..6_usize);
    let percent = || prop_oneof![3 => Just(67), 1 => 1..=100_usize];
    let leaf = (percent(), picks(1)).prop_map(|(percent, picks)| Model {
        percent,
        picks,
        inner: Vec::new(),
    });
    leaf.prop_recursive(3, 24, 3, move |inner| {
        let inner = prop::collection::vec(inner, 1..4_usize);
        (percent(), picks(0), inner).prop_map(|(percent, picks, inner)| Model {
            percent,
            picks,
            inner,
        })
    })
}

/// Who declares what, often several the same.
fn any_declared() -> impl Strategy<Value = BTreeMap<usize, Model>> {
    let models = prop::collection::vec(any_model(), 1..4_usize);
    let choices = prop::collection::btree_map(0..NODES, 0..8_usize, 0..=NODES);
    (models, choices).prop_map(|(models, choices)| {
        let model = |choice: usize| models[choice % models.len()].clone();
        let declared = choices.into_iter();
        declared.map(|(who, it)| (who, model(it))).collect()
    })
}

fn any_down() -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..NODES, 0..3_usize)
}

/// The rule again, by the letter and without any cleverness.
fn by_the_letter(
    declared: &BTreeMap<usize, Model>,
    restarted: usize,
    down: &BTreeSet<usize>,
) -> Tolerance {
    let alone = BTreeSet::from([restarted]);
    let all = down | &alone;
    let others = || declared.iter().filter(|(who, _)| **who != restarted);
    let exceeded = others().find(|(who, set)| set.holds(**who, &alone) && !set.holds(**who, &all));
    let zero = others().find(|(who, set)| !set.holds(**who, &alone));
    match (exceeded, zero) {
        (Some((who, _)), _) => Tolerance::Exceeded { of: node(*who) },
        (None, Some((who, _))) => Tolerance::Zero { of: node(*who) },
        (None, None) => Tolerance::Tolerated,
    }
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "(?s).{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_text_that_looks_like_a_set_makes_reading_panic(
        lines in prop::collection::vec(
            "(\\[\\[?QUORUM_SET(\\.[a-z1-3]){0,6}\\]?\\]|(VALIDATORS|THRESHOLD_PERCENT|NODE_NAMES|[A-Z]) ?= ?\
             (\\[(\"[$G]?[a-z ]{0,3}\",?|\\{A=1\\},?|1,?){0,4}\\]?|-?[0-9]{1,20}|\"x\"?)|#.)",
            0..8_usize,
        )
    ) {
        let _ = parse(&lines.join("\n"));
    }

    #[test]
    fn more_that_are_up_never_unsatisfy_a_set(model in any_model(), down in any_down(), more in any_down()) {
        let known: Vec<NodeName> = (0..NODES).map(node).collect();
        let directory = Directory::new(&known);
        let set = set(&model.text("QUORUM_SET"));
        let holds = |down: &BTreeSet<usize>| {
            let is_up = |name: &NodeName| !down.iter().any(|number| node(*number) == *name);
            set.is_satisfied(&node(0), &directory, is_up)
        };
        prop_assert!(holds(&BTreeSet::new()));
        prop_assert_eq!(holds(&down), model.holds(0, &down));
        prop_assert!(holds(&down) || !holds(&(&down | &more)));
    }

    #[test]
    fn the_rule_is_the_one_by_the_letter(
        declared in any_declared(), down in any_down(), restarted in 0..NODES,
    ) {
        let known: Vec<NodeName> = (0..NODES).map(node).collect();
        let directory = Directory::new(&known);
        let sets: BTreeMap<NodeName, QuorumSet> = declared
            .iter()
            .map(|(who, model)| (node(*who), set(&model.text("QUORUM_SET"))))
            .collect();
        let resolved = Resolved::new(&directory, &sets);
        let names_down: Vec<NodeName> = down.iter().copied().map(node).collect();
        let found = resolved.while_down(&names_down).tolerance(&node(restarted));
        prop_assert_eq!(&found, &by_the_letter(&declared, restarted, &down));

        if found == Tolerance::Tolerated {
            let is_up = |name: &NodeName| *name != node(restarted) && !names_down.contains(name);
            for (who, set) in &sets {
                prop_assert!(*who == node(restarted) || set.is_satisfied(who, &directory, is_up));
            }
        }
    }
}
