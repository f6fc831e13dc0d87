//! What the operator of this service decided: the flags of `run`, in the core's units.

use std::{num::NonZeroUsize, time::Duration};

/// How peers are addressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressMode {
    /// Pod IPs.
    #[default]
    Ip,
    /// Names of the governing headless Service, in this cluster domain.
    Dns {
        /// For example `cluster.local`.
        cluster_domain: String,
    },
}

/// When a change of the list is worth a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartOn {
    /// When the set of members changes.
    #[default]
    Membership,
    /// Only when somebody joined: whoever knows too many is left alone.
    Joins,
    /// Never for the list: the list alone is kept true.
    Never,
}

/// Whether validators that were there before us are taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adopt {
    /// By one restart each, one after the other.
    #[default]
    Restart,
    /// Only told.
    Never,
}

/// What happens to validators whose restart halts their network for its duration, whatever else is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnZeroTolerance {
    /// They are restarted while nobody else is down, and an Event says that the network pauses meanwhile.
    #[default]
    Restart,
    /// They are not restarted.
    Hold,
}

/// How the list is given to validators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InjectMode {
    /// Mounted. What merges it stays where it is, and comes nowhere.
    #[default]
    AsItIs,
    /// Mounted, and no more: what merges it goes with the next new template.
    Mount,
    /// Mounted, and merged into stellar-core's configuration where it is certain which file that is.
    Render {
        /// The image of the init container that merges: ours.
        image: String,
    },
}

/// All that the core's decisions depend on besides the cluster and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who writes the list: `<namespace>/<lease>` of this installation.
    pub writer: String,
    /// How peers are addressed.
    pub address_mode: AddressMode,
    /// How the list is given to validators.
    pub inject: InjectMode,
    /// Time after which a network that was never Ready, or a lost one, is helped; zero turns that off.
    pub bootstrap_after: Duration,
    /// When a change is worth a restart.
    pub restart_on: RestartOn,
    /// What happens to validators without our parts.
    pub adopt: Adopt,
    /// Quiet time after somebody joined before a restart.
    pub settle: Duration,
    /// Quiet time where somebody only left.
    pub settle_leave: Duration,
    /// Most members of a network that may be down at once because of us.
    pub max_unavailable: NonZeroUsize,
    /// A member that is Ready for less than this still counts as down.
    pub min_ready: Duration,
    /// What happens where a quorum set tolerates nobody.
    pub on_zero_tolerance: OnZeroTolerance,
    /// A rollout that takes longer stops all further restarts of its network.
    pub stuck_after: Duration,
}

impl Default for Policy {
    /// The flags' defaults; without an image nothing can be added that merges.
    fn default() -> Self {
        Self {
            writer: "stellar-peers/stellar-peers".to_owned(),
            address_mode: AddressMode::Ip,
            inject: InjectMode::AsItIs,
            bootstrap_after: Duration::from_mins(1),
            restart_on: RestartOn::Membership,
            adopt: Adopt::Restart,
            settle: Duration::from_secs(30),
            settle_leave: Duration::from_mins(5),
            max_unavailable: NonZeroUsize::MIN,
            min_ready: Duration::from_mins(1),
            on_zero_tolerance: OnZeroTolerance::Restart,
            stuck_after: Duration::from_mins(15),
        }
    }
}
