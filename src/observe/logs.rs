//! Logs: text for people, JSON for machines, on standard error. docs/logs.md describes both.

#[cfg(test)]
pub(crate) mod captured;
mod json;
mod line;
#[cfg(feature = "otel")]
mod otlp;

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, ParseError},
    fmt::{self, format::JsonFields},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::{json::Flat, line::OneLine};

/// Each failed request, at level error. Whoever made the request says so as well, with what it means.
const KUBE_FAILURES: &str = "kube_client::client::builder=off";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// How log lines look.
    #[arg(long, env = "STELLAR_PEERS_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as
    /// `info,stellar_peers::domain=trace`.
    #[arg(long, env = "STELLAR_PEERS_LOG_FILTER", default_value = "info")]
    pub log_filter: String,
    /// Where spans of passes and admissions are sent by OTLP over plain HTTP, such as `http://127.0.0.1:4318`; nowhere
    /// where neither this nor `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
    #[cfg(feature = "otel")]
    #[arg(long, env = "STELLAR_PEERS_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error("--log-filter {0:?} is not readable")]
    Filter(String, #[source] ParseError),
    /// No exporter can be made of the endpoint.
    #[cfg(feature = "otel")]
    #[error("--otlp-endpoint {0:?} is not usable; give the http:// address of a collector")]
    Endpoint(String, #[source] opentelemetry_otlp::ExporterBuildError),
}

/// What has to be ended before the process ends, or the last spans are lost.
#[derive(Debug, Default)]
#[must_use = "the last spans are sent by `flush`"]
pub struct Logs {
    #[cfg(feature = "otel")]
    traces: Option<otlp::Traces>,
}

impl Logs {
    /// Sends what was not sent yet.
    #[cfg_attr(
        not(feature = "otel"),
        expect(clippy::unused_async, reason = "there is something to send with it")
    )]
    pub async fn flush(self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            traces.flush().await;
        }
    }
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging for this process. A second call changes nothing.
///
/// # Errors
/// [`LogError`], which names the flag.
pub fn init(args: &LogArgs) -> Result<Logs, LogError> {
    let filter = EnvFilter::try_new(directives(&args.log_filter))
        .map_err(|error| LogError::Filter(args.log_filter.clone(), error))?;
    let lines: Lines = match args.log_format {
        LogFormat::Text => text_lines(std::io::stderr, is_coloured())
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => json_lines(std::io::stderr).with_filter(filter).boxed(),
    };
    #[cfg_attr(
        not(feature = "otel"),
        expect(unused_mut, reason = "traces are one more")
    )]
    let (mut layers, mut logs) = (vec![lines], Logs::default());
    #[cfg(feature = "otel")]
    if let Some(endpoint) = otlp::endpoint(args.otlp_endpoint.as_deref()) {
        let (traces, layer) = otlp::Traces::to(&endpoint)
            .map_err(|error| LogError::Endpoint(endpoint.clone(), error))?;
        layers.push(layer);
        logs.traces = Some(traces);
    }
    // Another subscriber may be there already, in a test: its lines are as good.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(logs)
}

fn text_lines<W>(writer: W, is_coloured: bool) -> impl Layer<Registry> + Send + Sync
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer()
        .with_ansi(is_coloured)
        .event_format(OneLine::new(is_coloured))
        .with_writer(writer)
}

fn json_lines<W>(writer: W) -> impl Layer<Registry> + Send + Sync
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(Flat)
        .with_writer(writer)
}

/// Standard error may be a file or a pipe, where colours are noise; see <https://no-color.org>.
fn is_coloured() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    std::io::stderr().is_terminal() && !is_unwanted
}

/// The filter as it is used: what somebody says of kube's lines, or whoever wants to see everything, wins.
fn directives(filter: &str) -> String {
    let says_so = |directive: &str| {
        let is_all = directive.parse::<LevelFilter>();
        is_all.is_ok_and(|level| level > LevelFilter::INFO) || directive.starts_with("kube")
    };
    let mut all = filter.split(',').map(str::trim);
    if filter.is_empty() || all.any(says_so) {
        return filter.to_owned();
    }
    format!("{filter},{KUBE_FAILURES}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tracing::{Level, Span, error_span, warn};

    use super::{captured::Captured, *};
    use crate::observe::is_harmful;

    fn lines(say: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::at(LevelFilter::WARN);
        say();
        captured.take()
    }

    #[test]
    fn a_json_line_is_flat_and_has_the_fields_of_its_spans() {
        let lines = lines(|| {
            let outer = error_span!(
                "reconcile",
                namespace = "a",
                pass = 7,
                peers = tracing::field::Empty
            );
            let _outer = outer.enter();
            Span::current().record("peers", 3);
            let _inner = error_span!("apply", namespace = "b").entered();
            warn!(peers = 4, error = ?"x\ny", "Said so");
        });
        let [line] = &*lines else { panic!("{lines:?}") };
        let at = line["timestamp"].as_str().unwrap();
        assert!(
            at.ends_with('Z') && at.parse::<jiff::Timestamp>().is_ok(),
            "{at}"
        );
        let expected = [
            ("level", "WARN".into()),
            ("message", "Said so".into()),
            ("span", "apply".into()),
            ("namespace", "b".into()),
            ("pass", 7.into()),
            ("peers", 4.into()),
            ("error", "\"x\\ny\"".into()),
        ];
        for (key, value) in expected {
            let value: Value = value;
            assert_eq!(line[key], value, "{key} of {line}");
        }
    }

    /// What could begin a line, or do something to a terminal that shows it.
    const HOSTILE: &str = "a\n2026-11-25T00:00:00Z  INFO forged\r\x1b[2J\x1b]0;t\x07\u{9b}31m\u{202e}\u{2028}\0\x08\t\x7f";

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Hostile(String);

    fn say(text: &str) {
        let span = error_span!("reconcile", namespace = text, shown = %text);
        let _span = span.enter();
        let error = Hostile(text.to_owned());
        let error = &error as &dyn std::error::Error;
        warn!(text, shown = %text, debugged = ?text, error, "{text}");
    }

    #[test]
    fn no_text_begins_another_line_or_moves_a_cursor() {
        for (is_coloured, allowed) in [(false, &['\n'][..]), (true, &['\n', '\x1b'])] {
            let captured = Captured::text(is_coloured);
            say(HOSTILE);
            let told = captured.take_text();
            assert_eq!(told.matches('\n').count(), 1, "{told:?}");
            let odd = told.find(|c: char| is_harmful(c) && !allowed.contains(&c));
            assert_eq!(odd, None, "{told:?}");
            // Colours are the only sequences: the text's stand there as text.
            let plain = anstream::adapter::strip_str(&told).to_string();
            for part in ["[2J", "]0;t", "31m", "forged"] {
                assert!(plain.contains(part), "{part} of {plain:?}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_one_line_of_text_and_one_of_json(text in "(\\PC|[\\x00-\\x1f\\x7f-\\u{9f}\u{202e}\u{2028}]){0,60}") {
            let captured = Captured::text(false);
            say(&text);
            let told = captured.take_text();
            proptest::prop_assert!(told.ends_with('\n'));
            proptest::prop_assert!(!told[..told.len() - 1].contains(is_harmful), "{:?}", told);
            drop(captured);
            let captured = Captured::at(LevelFilter::WARN);
            say(&text);
            let told = captured.take_text();
            proptest::prop_assert_eq!(told.matches('\n').count(), 1);
            proptest::prop_assert!(!told[..told.len() - 1].contains(|c: char| c < ' '));
            let read: Value = serde_json::from_str(&told).unwrap();
            proptest::prop_assert_eq!(&read["message"], &Value::String(text.clone()));
        }
    }

    #[test]
    fn no_field_can_take_the_place_of_what_every_line_has() {
        let lines = lines(|| tracing::event!(Level::WARN, level = "x", span = 1, "{}", "said"));
        let line = &lines[0];
        assert_eq!(
            (&line["level"], &line["level_"]),
            (&"WARN".into(), &"x".into())
        );
        assert_eq!(
            (&line["message"], &line["span_"]),
            (&"said".into(), &1.into())
        );
    }

    #[test]
    fn spans_of_work_are_there_for_whatever_is_logged_inside() {
        let lines = lines(|| {
            let _span = error_span!("admit", uid = "u").entered();
            warn!("Told");
        });
        assert_eq!(lines[0]["uid"], "u");
    }

    #[test]
    fn failed_requests_are_told_by_who_made_them_unless_somebody_wants_more() {
        let quiet = |filter: &str| directives(filter) != filter;
        assert!(quiet("info") && quiet("warn") && quiet("info,stellar_peers::domain=trace"));
        for all in [
            "debug",
            "trace",
            "info,kube=info",
            "info, kube_client=error",
            "",
        ] {
            assert!(!quiet(all), "{all}");
        }
        for filter in ["info", "warn", "info,stellar_peers=debug"] {
            EnvFilter::try_new(directives(filter)).unwrap();
        }
    }
}
