//! `render values`: what `--inject render` would add, as values of a chart.

use clap::ValueEnum;

use crate::{
    cli::{Failed, manifests},
    controller::args::parse_image,
    domain::{
        injection::{Binary, ChartValues},
        node::{Network, NodeName},
    },
};

/// The charts that values can be printed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Chart {
    /// `core` of SDF's charts, 0.9.0 or newer.
    #[value(name = "stellar/core")]
    StellarCore,
}

/// For which release the values are.
#[derive(Clone, Debug, clap::Args)]
pub struct ValuesArgs {
    /// The chart.
    #[arg(long, env = "STELLAR_PEERS_CHART", value_enum)]
    pub chart: Chart,
    /// Name of the node: that of the release's StatefulSet, such as core-a for a release of this name.
    #[arg(long, env = "STELLAR_PEERS_NODE", value_name = "NAME")]
    pub node: String,
    /// Network of the node, for as long as the list doesn't have the node.
    #[arg(long, env = "STELLAR_PEERS_NETWORK", value_name = "NAME")]
    pub network: Option<String>,
    /// Our image, mounted as a volume. Needs Kubernetes 1.35, or 1.33 with the feature gate `ImageVolume`, and a
    /// container runtime that mounts images.
    #[arg(
        long,
        env = "STELLAR_PEERS_IMAGE",
        value_name = "IMAGE",
        value_parser = parse_image,
        required_unless_present = "binary",
        conflicts_with = "binary"
    )]
    pub image: Option<String>,
    /// Path of our program in your image of stellar-core, instead of --image.
    #[arg(long, env = "STELLAR_PEERS_BINARY", value_name = "PATH")]
    pub binary: Option<String>,
}

/// Prints the values.
///
/// # Errors
/// [`Failed`] where the name is none, or standard output is closed.
pub(super) fn print(args: &ValuesArgs) -> Result<(), Failed> {
    let node = NodeName::new(&args.node).map_err(|error| Failed(format!("--node {error}")))?;
    let binary = match (&args.image, &args.binary) {
        (Some(image), _) => Binary::Image(image.clone()),
        (None, Some(path)) => Binary::Path(path.clone()),
        (None, None) => return Err(Failed("either --image or --binary is needed".to_owned())),
    };
    let Chart::StellarCore = args.chart;
    let values = ChartValues {
        node,
        network: Network::new(args.network.as_deref().unwrap_or_default()),
        binary,
    };
    manifests::write(&values.to_values(), manifests::OutputFormat::Yaml)
}
