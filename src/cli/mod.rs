//! The command line: one file a subcommand.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    clock::Clock,
    observe::{error_chain, logs},
};

pub mod certs;
mod check;
mod connect;
#[cfg(feature = "sandbox")]
pub mod demo;
mod explain;
mod flags;
mod look;
mod manifests;
mod output;
mod pause;
mod render;
mod run;
mod status;
mod workload;

pub use check::CheckArgs;
pub use connect::ConnectArgs;
pub use explain::ExplainArgs;
pub use manifests::{ManifestsArgs, OutputFormat};
pub use output::Output;
pub use pause::PauseArgs;
pub use render::{OtherThanRender, RenderArgs, RenderCommand, ValuesArgs};
pub use run::RunArgs;
pub use status::StatusArgs;

/// Peer discovery, injection and careful restarts for Stellar validators on Kubernetes.
#[derive(Clone, Debug, Parser)]
#[command(name = "stellar-peers", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the webhook and the loop.
    Run(Box<RunArgs>),
    /// Merge the list into a copy of stellar-core's configuration: an init container's work.
    Render(RenderCommand),
    /// Show the validators of a namespace, what restarts next and what holds it back.
    Status(StatusArgs),
    /// Explain why a node is or isn't in the list.
    Explain(ExplainArgs),
    /// Check an installation: the cluster, the service, its webhook, the validators.
    Check(Box<CheckArgs>),
    /// Print the `CustomResourceDefinition` of StellarNode.
    Crd(manifests::OutputArgs),
    /// Print the registration of the webhook.
    Manifests(ManifestsArgs),
    /// Make a CA and a serving certificate, into a folder or a Secret.
    Certs(Box<CertsCommand>),
    /// Hold the restarts of a namespace back.
    Pause(PauseArgs),
    /// Let the restarts of a namespace go on.
    Resume(PauseArgs),
    /// Show the whole product at work on an in-memory cluster.
    #[cfg(feature = "sandbox")]
    Demo(demo::DemoArgs),
}

/// `certs` with the access that a Secret needs.
#[derive(Clone, Debug, clap::Args)]
pub struct CertsCommand {
    /// What to make.
    #[command(flatten)]
    pub certs: certs::CertsArgs,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Why a subcommand failed. The message is what a person reads.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl Failed {
    /// With all that the error rests on, in one line.
    pub fn from_error(error: &dyn std::error::Error) -> Self {
        Self(error_chain(error))
    }
}

/// How this program was called: by itself, or as a plugin of kubectl.
fn program() -> &'static str {
    let called = std::env::args_os().next();
    let called = called.as_deref().map(std::path::Path::new);
    match called.and_then(|path| path.file_stem()?.to_str()) {
        Some("kubectl-stellar_peers") => "kubectl stellar-peers",
        _ => "stellar-peers",
    }
}

impl Cli {
    /// Reads the command line; help and errors name the program as it was called.
    #[must_use]
    pub fn read() -> Self {
        let command = Self::command().bin_name(program());
        let matches = command.get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Carries the subcommand out.
    ///
    /// # Errors
    /// [`Failed`] with what happened and the way out.
    pub async fn execute(self) -> Result<(), Failed> {
        match self.command {
            Command::Run(args) => run::run(*args).await,
            Command::Render(args) => render::run(&args),
            Command::Status(args) => status::run(&args).await,
            Command::Explain(args) => explain::run(&args).await,
            Command::Check(args) => check::run(&args).await,
            Command::Crd(args) => manifests::print_crd(args),
            Command::Manifests(args) => manifests::print(&args),
            Command::Certs(command) => {
                let connect = async || command.connect.client().await;
                let now = Clock::system().now().wall;
                certs::run(&command.certs, connect, now)
                    .await
                    .map_err(|error| Failed::from_error(&error))
            }
            Command::Pause(args) => pause::run(&args, true).await,
            Command::Resume(args) => pause::run(&args, false).await,
            #[cfg(feature = "sandbox")]
            Command::Demo(args) => demo::run(args).await,
        }
    }
}

/// Starts logging for a subcommand that logs.
fn init_logs(args: &logs::LogArgs) -> Result<logs::Logs, Failed> {
    logs::init(args).map_err(|error| Failed::from_error(&error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn render_is_a_command_and_has_one() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
        let rendered = "stellar-peers render --config-dir a --peers-dir b --out-dir c --node d";
        let values = "stellar-peers render values --chart stellar/core --node a --binary /b";
        let Ok(Command::Render(RenderCommand::Render(_))) = parse(rendered) else {
            panic!("it renders")
        };
        let Ok(Command::Render(RenderCommand::Other(_))) = parse(values) else {
            panic!("it prints values")
        };
        for wrong in ["stellar-peers render", &format!("{values} --image c")] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn every_flag_is_an_environment_variable_of_its_name() {
        let cli = Cli::command();
        let direct = cli.get_subcommands();
        let nested = cli
            .get_subcommands()
            .flat_map(clap::Command::get_subcommands);
        for command in direct.chain(nested) {
            for flag in command.get_arguments().filter(|it| {
                it.get_long()
                    .is_some_and(|it| it != "help" && it != "version")
            }) {
                let long = flag.get_long().unwrap();
                let expected = format!("STELLAR_PEERS_{}", long.replace('-', "_").to_uppercase());
                let env = flag.get_env().map(|it| it.to_string_lossy().into_owned());
                assert_eq!(env, Some(expected), "{} --{long}", command.get_name());
            }
        }
    }
}
