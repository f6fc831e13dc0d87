//! `render`: a copy of stellar-core's configuration with the list in it. It runs as an init container.
//!
//! # Guarantees
//! - It never stops a validator that would start without it: whatever goes wrong, the files are copied as they are, one
//!   line on standard error says why, and the exit code is 0. `--strict` is for people who would rather know.
//! - The exit code is 1 where a copy is impossible: the folder or the configuration in it isn't there or can't be read,
//!   or the copy can't be written. An empty place would only become a folder of that name, made by the kubelet for its
//!   `subPath`, and stay one for as long as the pod lives; a failed init container is tried again.
//! - Each file is replaced at once or not at all, with the mode that it has in its source.
//! - Nothing is removed: what has left the source stays in the copy until its volume goes. A folder that a person names
//!   by mistake loses nothing so, and stellar-core reads no file that its configuration doesn't name.
//!
//! # Assumptions
//! The source is never a folder that this wrote: what a person wrote and what we added are told apart by that alone.

mod folder;
mod mounts;
#[cfg(test)]
mod tests;
mod values;

use std::{
    env, fs,
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand as _};

use self::folder::SourceFile;
pub use self::values::ValuesArgs;
use super::Failed;
use crate::{
    api::names,
    domain::{
        core_config::{
            Unmergeable,
            choice::{self, Basis, Choice, MountedList, Reader, choose},
            merge,
        },
        node::{InvalidNodeName, Network, NodeName},
    },
    observe::error_chain,
};

/// The addresses of the pod, several with commas between them; set by the downward API.
const POD_IP: &str = "POD_IP";

/// How much of a line is shown; it may name text of somebody else's.
const LINE_CHARS_MAX: usize = 500;

/// `render` by itself, or one of its subcommands.
#[derive(Clone, Debug)]
pub enum RenderCommand {
    /// Renders.
    Render(RenderArgs),
    /// Does something else.
    Other(OtherThanRender),
}

impl Args for RenderCommand {
    fn augment_args(command: Command) -> Command {
        OtherThanRender::augment_subcommands(RenderArgs::augment_args(command))
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RenderCommand {
    /// Flags of `render` that are set by the environment don't count for a subcommand.
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand_name() {
            Some(_) => OtherThanRender::from_arg_matches(matches).map(Self::Other),
            None => RenderArgs::from_arg_matches(matches).map(Self::Render),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What else is done for those who render.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum OtherThanRender {
    /// Print what the webhook would add, as values of a chart, for those who do without it.
    Values(ValuesArgs),
}

/// Whose configuration to render, from where and to where.
#[derive(Clone, Debug, clap::Args)]
pub struct RenderArgs {
    /// Folder with stellar-core's configuration, such as a mounted ConfigMap. It is only read.
    #[arg(long, env = "STELLAR_PEERS_CONFIG_DIR", value_name = "DIR")]
    pub config_dir: PathBuf,
    /// Folder with the list: ConfigMap stellar-peers, mounted. It may be empty or missing.
    #[arg(long, env = "STELLAR_PEERS_PEERS_DIR", value_name = "DIR")]
    pub peers_dir: PathBuf,
    /// Folder for the copy, made where it is missing. The configuration holds the node's seed: a folder in memory.
    #[arg(long, env = "STELLAR_PEERS_OUT_DIR", value_name = "DIR")]
    pub out_dir: PathBuf,
    /// Name of the node, which is never in its own list.
    #[arg(long, env = "STELLAR_PEERS_NODE", value_name = "NAME")]
    pub node: String,
    /// Network of the node, for as long as the list doesn't have the node.
    #[arg(long, env = "STELLAR_PEERS_NETWORK", value_name = "NAME")]
    pub network: Option<String>,
    /// The file in --config-dir that stellar-core reads.
    #[arg(
        long,
        env = "STELLAR_PEERS_CONFIG_FILE",
        value_name = "FILE",
        default_value = names::CONFIG_FILE
    )]
    pub config_file: PathBuf,
    /// Fail where the list can't be merged, instead of copying the files as they are.
    #[arg(long, env = "STELLAR_PEERS_STRICT")]
    pub strict: bool,
}

/// What keeps peers, or a file, out of the copy. None of them keeps a validator from starting.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// A flag's value.
    #[error("--node {0}")]
    Node(InvalidNodeName),
    /// stellar-core will say so.
    #[error("it is no UTF-8 text")]
    NotUtf8,
    /// stellar-core will say so.
    #[error(transparent)]
    Config(Unmergeable),
    /// What the list has, or has not.
    #[error(transparent)]
    List(choice::Problem),
    /// A part of the list can't be read.
    #[error("{} can't be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A file beside the configuration.
    #[error("{} is not copied", .0.display())]
    NotCopied(PathBuf, #[source] io::Error),
    /// A bug of ours, or of the parser. Standard error has it above.
    #[error("a bug, please report it with the lines above")]
    Bug,
}

/// What the copy has instead of the configuration.
enum Rendered {
    /// With peers in it.
    Merged {
        text: String,
        /// How many were chosen.
        peers: usize,
        /// How many of them it did not have before.
        added: usize,
        basis: Basis,
    },
    /// The same, for this reason.
    AsItIs(Problem),
}

/// Renders, and tells on standard error what it did.
///
/// # Errors
/// [`Failed`] where the configuration can't be copied; with `--strict` where anything is not as it should be.
pub(super) fn run(command: &RenderCommand) -> Result<(), Failed> {
    match command {
        RenderCommand::Render(args) => {
            let pod_ips = env::var(POD_IP).unwrap_or_default();
            render(args, &pod_ips, &mut io::stderr())
        }
        RenderCommand::Other(OtherThanRender::Values(args)) => values::print(args),
    }
}

fn render(args: &RenderArgs, pod_ips: &str, out: &mut dyn Write) -> Result<(), Failed> {
    let failed = |what: &Path, error: &dyn std::error::Error| {
        Failed(format!("{}: {}", what.display(), error_chain(error)))
    };
    if folder::is_same(&args.config_dir, &args.out_dir) {
        return Err(Failed(format!(
            "--out-dir {} is --config-dir: the copy would replace what a person wrote",
            args.out_dir.display()
        )));
    }
    let (files, unreadable) = folder::files_in(&args.config_dir, &args.out_dir)
        .map_err(|error| failed(&args.config_dir, &error))?;
    let mut problems: Vec<Problem> = unreadable
        .into_iter()
        .map(|(path, error)| Problem::NotCopied(path, error))
        .collect();
    let config = files.iter().find(|file| file.relative == args.config_file);
    let config = config.ok_or_else(|| {
        let missing = args.config_dir.join(&args.config_file);
        Failed(format!("{}: there is no such file", missing.display()))
    })?;
    let content = fs::read(&config.path).map_err(|error| failed(&config.path, &error))?;
    let rendered = or_bug(|| rendered(args, pod_ips, &content, &mut problems));
    if args.strict {
        complain(args, &rendered, &problems)?;
    }
    let copied = match &rendered {
        Rendered::Merged { text, .. } => text.as_bytes(),
        Rendered::AsItIs(_) => &content,
    };
    folder::write(&args.out_dir, config, copied)
        .map_err(|error| failed(&args.out_dir.join(&config.relative), &error))?;
    for file in files
        .iter()
        .filter(|file| file.relative != args.config_file)
    {
        if let Err(error) = copy(&args.out_dir, file) {
            problems.push(Problem::NotCopied(file.relative.clone(), error));
        }
    }
    tell(args, &rendered, &problems, &content, out);
    if args.strict {
        complain(args, &rendered, &problems)?;
    }
    Ok(())
}

/// A validator starts even where we panic.
fn or_bug(work: impl FnOnce() -> Rendered) -> Rendered {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Rendered::AsItIs(Problem::Bug))
}

fn copy(out_dir: &Path, file: &SourceFile) -> io::Result<()> {
    folder::write(out_dir, file, &fs::read(&file.path)?)
}

/// What becomes of the configuration. Problems that don't keep all peers out of it are noted.
fn rendered(
    args: &RenderArgs,
    pod_ips: &str,
    config: &[u8],
    problems: &mut Vec<Problem>,
) -> Rendered {
    let choice = match chosen(args, pod_ips, problems) {
        Ok(choice) => choice,
        Err(problem) => return Rendered::AsItIs(problem),
    };
    match merged(config, &choice) {
        Ok((text, added)) => Rendered::Merged {
            text,
            peers: choice.peers.len(),
            added,
            basis: choice.basis,
        },
        Err(problem) => Rendered::AsItIs(problem),
    }
}

fn chosen(
    args: &RenderArgs,
    pod_ips: &str,
    problems: &mut Vec<Problem>,
) -> Result<Choice, Problem> {
    let name = NodeName::new(&args.node).map_err(Problem::Node)?;
    let network = args.network.as_deref().map(Network::new);
    let mut of_list = Vec::new();
    let mut read = |file: &str| {
        let path = args.peers_dir.join(file);
        match fs::read(&path) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                of_list.push(Problem::Unreadable(path, error));
                None
            }
        }
    };
    let (members, known_peers) = (read(names::KEY_MEMBERS), read(names::KEY_KNOWN_PEERS));
    let list = MountedList {
        members: members.as_deref(),
        known_peers: known_peers.as_deref(),
    };
    let mut choice = choose(&list, &Reader::new(name, network, pod_ips));
    of_list.extend(choice.problems.drain(..).map(Problem::List));
    if choice.basis == Basis::Nothing && !of_list.is_empty() {
        // What can't be read is why there is nothing.
        return Err(of_list.swap_remove(0));
    }
    problems.append(&mut of_list);
    Ok(choice)
}

/// The text, and how many peers it did not have before.
fn merged(config: &[u8], choice: &Choice) -> Result<(String, usize), Problem> {
    let text = str::from_utf8(config).map_err(|_| Problem::NotUtf8)?;
    let merged = merge(text, &choice.peers).map_err(Problem::Config)?;
    Ok((merged.text, merged.added))
}

/// With `--strict` the first problem is an error.
fn complain(args: &RenderArgs, rendered: &Rendered, problems: &[Problem]) -> Result<(), Failed> {
    let first = match rendered {
        Rendered::AsItIs(problem) => Some(problem),
        Rendered::Merged { .. } => problems.first(),
    };
    match first {
        Some(problem) => Err(Failed(line(&format!(
            "{}: {}",
            args.config_file.display(),
            error_chain(problem)
        )))),
        None => Ok(()),
    }
}

/// Says what was done, a line each. Nobody may read it, and that is no reason to fail.
fn tell(
    args: &RenderArgs,
    rendered: &Rendered,
    problems: &[Problem],
    config: &[u8],
    out: &mut dyn Write,
) {
    let mut say = |text: &str| {
        let _ = writeln!(out, "stellar-peers render: {}", line(text));
    };
    for problem in problems {
        say(&error_chain(problem));
    }
    let file = args.config_file.display();
    match rendered {
        Rendered::AsItIs(problem) => {
            say(&format!(
                "nothing is merged into {file}: {}",
                error_chain(problem)
            ));
        }
        Rendered::Merged {
            peers,
            added,
            basis,
            ..
        } => say(&format!(
            "merged into {file}: {peers} {} of {basis}, {added} of them new",
            if *peers == 1 { "peer" } else { "peers" }
        )),
    }
    let has_seed = config.windows(9).any(|it| it == b"NODE_SEED");
    if has_seed && mounts::is_in_memory(&args.out_dir) == Some(false) {
        say(&format!(
            "warning: {file} has a seed, and {} is not in memory; use an emptyDir of medium Memory",
            args.out_dir.display()
        ));
    }
}

/// One line of bounded length, whatever the text.
fn line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(LINE_CHARS_MAX).map(plain).collect()
}
