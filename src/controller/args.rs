//! The loop's flags.

use std::{num::NonZeroUsize, time::Duration};

use clap::ValueEnum;
use humantime::parse_duration;

use crate::domain::policy::{AddressMode, Adopt, InjectMode, OnZeroTolerance, Policy, RestartOn};

/// How peers are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AddressModeArg {
    /// Pod IPs.
    Ip,
    /// DNS names of the governing headless Service.
    Dns,
}

/// When a changed list is worth a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RestartOnArg {
    /// When the set of members changes.
    Membership,
    /// Only when somebody joined.
    Joins,
    /// Never: the list alone is kept.
    Never,
}

/// Whether validators that were there before are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdoptArg {
    /// By one restart each, one after the other.
    Restart,
    /// Only told.
    Never,
}

/// What happens to a validator without which some member's quorum set is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnZeroToleranceArg {
    /// It is restarted while nobody else is down; the network pauses meanwhile.
    Restart,
    /// It is not restarted.
    Hold,
}

/// How the list is given to validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InjectArg {
    /// Mounted, and merged into the file that stellar-core reads.
    Render,
    /// Mounted, and no more.
    Mount,
}

/// What validators are given.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Injection")]
pub struct InjectionArgs {
    /// How the list is given to validators: render where --render-image is set. With neither it is mounted, and what
    /// merges it already stays.
    #[arg(long, env = "STELLAR_PEERS_INJECT", value_enum)]
    pub inject: Option<InjectArg>,
    /// The image of the init container that merges the list into stellar-core's configuration: that of this program,
    /// as validators' nodes can pull it.
    #[arg(
        long,
        env = "STELLAR_PEERS_RENDER_IMAGE",
        value_name = "IMAGE",
        value_parser = parse_image,
        required_if_eq("inject", "render")
    )]
    pub render_image: Option<String>,
}

impl InjectionArgs {
    /// The flags in the core's units.
    #[must_use]
    pub fn mode(&self) -> InjectMode {
        match (self.inject, &self.render_image) {
            (Some(InjectArg::Mount), _) => InjectMode::Mount,
            (_, None) => InjectMode::AsItIs,
            (Some(InjectArg::Render) | None, Some(image)) => InjectMode::Render {
                image: image.clone(),
            },
        }
    }
}

/// How peers are found.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Discovery")]
pub struct DiscoveryArgs {
    /// Longest time between two looks at a namespace; changes are seen at once.
    #[arg(long, env = "STELLAR_PEERS_DISCOVERY_INTERVAL", default_value = "30s", value_parser = parse_positive)]
    pub discovery_interval: Duration,
    /// How long a network may run without anybody ever having been Ready before those that run are listed, so that
    /// they can find each other; 0s turns that off.
    #[arg(long, env = "STELLAR_PEERS_BOOTSTRAP_AFTER", default_value = "60s", value_parser = parse_duration)]
    pub bootstrap_after: Duration,
    /// How peers are addressed.
    #[arg(
        long,
        env = "STELLAR_PEERS_ADDRESS_MODE",
        value_enum,
        default_value = "ip"
    )]
    pub address_mode: AddressModeArg,
    /// What the cluster's DNS names end in; for --address-mode dns.
    #[arg(
        long,
        env = "STELLAR_PEERS_CLUSTER_DOMAIN",
        default_value = "cluster.local"
    )]
    pub cluster_domain: String,
}

/// When validators are restarted.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Restarts")]
pub struct RolloutArgs {
    /// When a changed list is worth a restart.
    #[arg(
        long,
        env = "STELLAR_PEERS_RESTART_ON",
        value_enum,
        default_value = "membership"
    )]
    pub restart_on: RestartOnArg,
    /// What happens to validators that were there before this service.
    #[arg(
        long,
        env = "STELLAR_PEERS_ADOPT",
        value_enum,
        default_value = "restart"
    )]
    pub adopt: AdoptArg,
    /// How long the membership must have been the same before anybody is restarted for it.
    #[arg(long, env = "STELLAR_PEERS_SETTLE", default_value = "30s", value_parser = parse_duration)]
    pub settle: Duration,
    /// The same where validators only left: one that is deleted and made again then costs nothing.
    #[arg(long, env = "STELLAR_PEERS_SETTLE_LEAVE", default_value = "5m", value_parser = parse_duration)]
    pub settle_leave: Duration,
    /// Most members of a network in a namespace that may be down at once because of restarts; those that are down
    /// for other reasons count.
    #[arg(long, env = "STELLAR_PEERS_MAX_UNAVAILABLE", default_value = "1")]
    pub max_unavailable: NonZeroUsize,
    /// How long a validator must have been Ready before the next one is restarted: stellar-core says that it is in
    /// sync for up to 35 s even without a network.
    #[arg(long, env = "STELLAR_PEERS_MIN_READY", default_value = "60s", value_parser = parse_duration)]
    pub min_ready: Duration,
    /// What happens to a validator without which some member's declared quorum set is not met, whoever else is up.
    #[arg(
        long,
        env = "STELLAR_PEERS_ON_ZERO_TOLERANCE",
        value_enum,
        default_value = "restart"
    )]
    pub on_zero_tolerance: OnZeroToleranceArg,
    /// A restart that takes longer than this stops all further ones of its network.
    #[arg(long, env = "STELLAR_PEERS_STUCK_AFTER", default_value = "15m", value_parser = parse_positive)]
    pub stuck_after: Duration,
}

/// An image that no pod template could have would have each validator's refused.
pub(crate) fn parse_image(text: &str) -> Result<String, String> {
    let named = text.split('@').next().unwrap_or_default();
    let at = named.rfind('/').map_or(0, |slash| slash + 1);
    let repository = named[at..].split(':').next().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let is_plain = text.chars().all(|c| c.is_ascii_graphic());
    if repository.is_empty() || !repository.chars().all(allowed) || !is_plain {
        return Err("is no image; one is written as registry/name:tag".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_positive(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        Err("must be longer than 0".to_owned())
    } else {
        Ok(duration)
    }
}

impl RolloutArgs {
    /// The flags in the core's units. `writer` names this installation in the record.
    #[must_use]
    pub fn policy(
        &self,
        discovery: &DiscoveryArgs,
        injection: &InjectionArgs,
        writer: String,
    ) -> Policy {
        Policy {
            writer,
            address_mode: match discovery.address_mode {
                AddressModeArg::Ip => AddressMode::Ip,
                AddressModeArg::Dns => AddressMode::Dns {
                    cluster_domain: discovery.cluster_domain.clone(),
                },
            },
            inject: injection.mode(),
            bootstrap_after: discovery.bootstrap_after,
            restart_on: match self.restart_on {
                RestartOnArg::Membership => RestartOn::Membership,
                RestartOnArg::Joins => RestartOn::Joins,
                RestartOnArg::Never => RestartOn::Never,
            },
            adopt: match self.adopt {
                AdoptArg::Restart => Adopt::Restart,
                AdoptArg::Never => Adopt::Never,
            },
            settle: self.settle,
            settle_leave: self.settle_leave,
            max_unavailable: self.max_unavailable,
            min_ready: self.min_ready,
            on_zero_tolerance: match self.on_zero_tolerance {
                OnZeroToleranceArg::Restart => OnZeroTolerance::Restart,
                OnZeroToleranceArg::Hold => OnZeroTolerance::Hold,
            },
            stuck_after: self.stuck_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct All {
        #[command(flatten)]
        discovery: DiscoveryArgs,
        #[command(flatten)]
        injection: InjectionArgs,
        #[command(flatten)]
        rollout: RolloutArgs,
    }

    #[test]
    fn the_flags_defaults_are_the_cores_defaults() {
        let All {
            discovery,
            injection,
            rollout,
        } = All::parse_from(["run"]);
        let policy = Policy::default();
        let writer = policy.writer.clone();
        assert_eq!(rollout.policy(&discovery, &injection, writer), policy);
    }

    #[test]
    fn without_an_image_nothing_is_rendered_that_is_not_yet() {
        let mode = |args: &[&str]| {
            let all = All::try_parse_from(["run"].iter().chain(args));
            all.map(|all| all.injection.mode()).ok()
        };
        let render = Some(InjectMode::Render {
            image: "it".to_owned(),
        });
        assert_eq!(mode(&[]), Some(InjectMode::AsItIs));
        assert_eq!(mode(&["--render-image", "it"]), render);
        assert_eq!(
            mode(&["--inject", "render", "--render-image", "it"]),
            render
        );
        let mount = mode(&["--inject", "mount", "--render-image", "it"]);
        assert_eq!(mount, Some(InjectMode::Mount));
        assert_eq!(mode(&["--inject", "render"]), None);
        for bad in ["", " ", "a b", "a/", "A:1", ":1", "a/B"] {
            assert_eq!(mode(&["--render-image", bad]), None, "{bad:?}");
        }
        for good in [
            "a",
            "a:1",
            "host:5000/a/b-c:1.2_x",
            "host/a@sha256:0f",
            "host/a:1@sha256:0f",
        ] {
            assert!(mode(&["--render-image", good]).is_some(), "{good:?}");
        }
    }

    #[test]
    fn durations_that_would_mean_for_ever_or_never_are_refused() {
        for bad in ["0s", "-1s", "x", "10"] {
            assert!(
                All::try_parse_from(["run", "--discovery-interval", bad]).is_err(),
                "{bad}"
            );
        }
        assert!(All::try_parse_from(["run", "--max-unavailable", "0"]).is_err());
        assert!(All::try_parse_from(["run", "--settle", "0s", "--bootstrap-after", "0s"]).is_ok());
    }
}
