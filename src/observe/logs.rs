//! Logs: text for people, JSON for machines, on standard error.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError};

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
}

/// Starts logging for this process. A second call changes nothing.
///
/// # Errors
/// [`ParseError`] where the filter is none.
pub fn init(args: &LogArgs) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&args.log_filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Another subscriber may be there already, in a test: its lines are as good.
    let _ = match args.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
