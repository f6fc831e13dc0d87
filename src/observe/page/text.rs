//! Others' words on our page: the one way in.
//!
//! The markup's own escaping keeps text from becoming elements. This keeps it from becoming anything else: no line
//! breaks, no characters that turn the direction of what follows, no control characters, and no more than fits.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::{
    domain::{digest::short_sha256, snapshot::parse_time},
    observe::is_harmful,
};

/// Characters of a name. Kubernetes allows 253; a network's name is any text.
const NAME_CHARS: usize = 253;
/// Characters of a sentence. Events have at most 1,024.
const SENTENCE_CHARS: usize = 1_024;

/// Text as it may be shown, of at most so many characters.
pub(super) fn shown(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(chars_max).map(harmless).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

fn harmless(char: char) -> char {
    match char {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        char if is_harmful(char) => '\u{fffd}',
        char => char,
    }
}

/// A name, whose own direction moves nothing around it.
pub(super) fn name(name: &str) -> Markup {
    html! { bdi { (shown(name, NAME_CHARS)) } }
}

/// A network's name.
pub(super) fn network_name(network: &str) -> Markup {
    if network.is_empty() {
        html! { "without a name" }
    } else {
        name(network)
    }
}

/// A sentence.
pub(super) fn sentence(text: &str) -> Markup {
    html! { bdi { (shown(text, SENTENCE_CHARS)) } }
}

/// A name in few characters: its beginning and its end, which is where names differ.
pub(super) fn short(name: &str, chars_max: usize) -> String {
    let name = shown(name, NAME_CHARS);
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= chars_max {
        return name;
    }
    let end = (chars_max - 1) / 2;
    let begin = chars_max - 1 - end;
    let parts = [&chars[..begin], &['…'], &chars[chars.len() - end..]];
    parts.concat().into_iter().collect()
}

/// An element's id that stands for a name, whatever characters that has.
pub(super) fn id(kind: &str, names: &[&str]) -> String {
    format!("{kind}-{}", short_sha256(names.join("\0").as_bytes(), 6))
}

/// The page of one namespace, relative to the page.
pub(super) fn link(namespace: &str) -> String {
    // No namespace has a longer name, so that nothing is lost but the length of a link.
    let name: String = namespace.chars().take(NAME_CHARS).collect();
    let value: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("?namespace={value}")
}

/// The digits of a membership hash that tell it from its neighbours.
pub(super) fn short_hash(hash: &str) -> String {
    let digits = hash.split_once(':').map_or(hash, |(_, digits)| digits);
    shown(&digits.chars().take(6).collect::<String>(), 6)
}

/// A time: how long ago, and which. What is no time is shown as it is.
pub(super) fn time(at: &str, now: Option<Timestamp>) -> Markup {
    let Some(then) = parse_time(at) else {
        return name(at);
    };
    let machine = crate::domain::time::rfc3339(then);
    let year = |at: Timestamp| at.strftime("%Y").to_string();
    let is_this_year = now.is_some_and(|now| year(now) == year(then));
    let form = if is_this_year {
        "%b %-d %H:%M:%S UTC"
    } else {
        "%Y-%m-%d %H:%M:%S UTC"
    };
    let people = then.strftime(form).to_string();
    html! {
        time datetime=(machine) {
            @if let Some(now) = now { span.ago { (ago(then, now)) } " " }
            span.clock { (people) }
        }
    }
}

/// In steps that let a quiet page stay as it is.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(then);
    let distance = match passed.unsigned_abs().as_secs() {
        seconds @ 0..60 => format!("{} s", seconds / 10 * 10),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    };
    if passed.as_secs().abs() < 10 {
        "just now".to_owned()
    } else if passed.is_negative() {
        format!("in {distance}")
    } else {
        format!("{distance} ago")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_breaks_lines_is_not_shown() {
        assert_eq!(shown("a\r\nb\u{202e}c\u{7}", 99), "a  b\u{fffd}c\u{fffd}");
        assert_eq!(shown("abcdef", 3), "abc…");
    }

    #[test]
    fn a_short_name_keeps_both_its_ends() {
        assert_eq!(short("validator-eu-west-17", 9), "vali…t-17");
        assert_eq!(short("validator", 9), "validator");
    }

    #[test]
    fn ages_are_told_in_steps() {
        let now: Timestamp = "2027-01-15T08:00:00Z".parse().unwrap();
        let told = |seconds: i64| ago(now - jiff::SignedDuration::from_secs(seconds), now);
        let told = [0, 12, 59, 60, 3_700, 200_000, -90].map(told);
        let wanted = [
            "just now",
            "10 s ago",
            "50 s ago",
            "1 min ago",
            "1 h ago",
            "2 days ago",
            "in 1 min",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_link_asks_for_what_it_was_made_of() {
        for namespace in [
            "stellar",
            "javascript:alert(1)",
            "a&namespace=b",
            "\"><script>",
            "ü\n",
        ] {
            let link = link(namespace);
            let asked = super::super::selection(link.strip_prefix('?'));
            assert_eq!(asked.as_deref(), Some(namespace));
        }
    }
}
