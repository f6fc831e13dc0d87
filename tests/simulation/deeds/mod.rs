//! What happens to a cluster: what people, machines and networks do to it.

mod cluster;
mod ours;
mod people;

use std::time::Duration;

use crate::world::World;

/// One kind of thing that happens. A seed has some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Create,
    CreateMany,
    Delete,
    Recreate,
    Suspend,
    ChangePort,
    OptOut,
    DeleteSet,
    OrphanPods,
    ChangeImage,
    PauseList,
    PauseNode,
    PauseSet,
    EditList,
    BreakRecord,
    DeleteList,
    AddForeignKey,
    DropAnnotations,
    ForgeNotes,
    OnDelete,
    Partition,
    DrainOne,
    DrainSome,
    DrainAll,
    HoldReady,
    SpoilNextStart,
    MoveAddress,
    Compact,
    BreakWatches,
    BreakReadings,
    BreakWrites,
    Outage,
    WebhookAway,
    WebhookSlow,
    OperatorAway,
    Crash,
    CutOff,
    SecondLeader,
    StepClock,
}

impl Deed {
    pub(crate) const ALL: [Self; 39] = [
        Self::Create,
        Self::CreateMany,
        Self::Delete,
        Self::Recreate,
        Self::Suspend,
        Self::ChangePort,
        Self::OptOut,
        Self::DeleteSet,
        Self::OrphanPods,
        Self::ChangeImage,
        Self::PauseList,
        Self::PauseNode,
        Self::PauseSet,
        Self::EditList,
        Self::BreakRecord,
        Self::DeleteList,
        Self::AddForeignKey,
        Self::DropAnnotations,
        Self::ForgeNotes,
        Self::OnDelete,
        Self::Partition,
        Self::DrainOne,
        Self::DrainSome,
        Self::DrainAll,
        Self::HoldReady,
        Self::SpoilNextStart,
        Self::MoveAddress,
        Self::Compact,
        Self::BreakWatches,
        Self::BreakReadings,
        Self::BreakWrites,
        Self::Outage,
        Self::WebhookAway,
        Self::WebhookSlow,
        Self::OperatorAway,
        Self::Crash,
        Self::CutOff,
        Self::SecondLeader,
        Self::StepClock,
    ];

    /// Whether a pod that starts at the wrong moment is cut off by it until it starts again: a person has spoilt the
    /// list.
    pub(crate) fn spoils_the_list(self) -> bool {
        matches!(
            self,
            Self::EditList | Self::DeleteList | Self::DropAnnotations
        )
    }

    /// Whether ours hear of changes much later because of it.
    pub(crate) fn cuts_off_for_long(self) -> bool {
        matches!(self, Self::BreakReadings | Self::Outage | Self::CutOff)
    }

    /// Whether watches have to begin anew because of it.
    pub(crate) fn interrupts_watches(self) -> bool {
        matches!(self, Self::Compact | Self::BreakWatches)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "validator made",
            Self::CreateMany => "validators made at once",
            Self::Delete => "validator deleted",
            Self::Recreate => "validator made again",
            Self::Suspend => "validator suspended",
            Self::ChangePort => "port changed",
            Self::OptOut => "opted out",
            Self::DeleteSet => "StatefulSet deleted",
            Self::OrphanPods => "pods orphaned",
            Self::ChangeImage => "image changed",
            Self::PauseList => "namespace paused",
            Self::PauseNode => "StellarNode paused",
            Self::PauseSet => "StatefulSet paused",
            Self::EditList => "list edited",
            Self::BreakRecord => "record broken",
            Self::DeleteList => "list deleted",
            Self::AddForeignKey => "foreign key added",
            Self::DropAnnotations => "annotations dropped",
            Self::ForgeNotes => "notes forged",
            Self::OnDelete => "OnDelete set",
            Self::Partition => "partition set",
            Self::DrainOne => "pod deleted",
            Self::DrainSome => "pods deleted",
            Self::DrainAll => "all pods deleted",
            Self::HoldReady => "pod not Ready",
            Self::SpoilNextStart => "next start spoilt",
            Self::MoveAddress => "address handed on",
            Self::Compact => "history compacted",
            Self::BreakWatches => "watches broken",
            Self::BreakReadings => "readings fail",
            Self::BreakWrites => "writes fail",
            Self::Outage => "API server away",
            Self::WebhookAway => "webhook away",
            Self::WebhookSlow => "webhook slow",
            Self::OperatorAway => "operator away",
            Self::Crash => "killed",
            Self::CutOff => "cut off",
            Self::SecondLeader => "second leader",
            Self::StepClock => "clock set",
        }
    }
}

/// What ends something that lasts for a while.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    Resume(String),
    OptIn(String),
    Create(crate::plan::NewValidator),
    UnpauseList,
    UnpauseNode(String),
    UnpauseSet(String),
    Roll(String),
    Release(String),
    EndTrouble,
    ReturnWebhook,
    ReturnOperator,
    Reconnect(String),
    StopSecondLeader,
    SetClockBack,
}

impl World {
    /// Does one thing of the seed's.
    pub(crate) async fn act(&mut self) {
        let deeds = self.plan.deeds.clone();
        let Some(deed) = self.random.pick(&deeds).copied() else {
            return;
        };
        {
            let mut observer = self.observer.lock();
            observer.figures.count(deed.name());
            observer.tell("-", deed.name());
        }
        match deed {
            Deed::Create
            | Deed::CreateMany
            | Deed::Delete
            | Deed::Recreate
            | Deed::Suspend
            | Deed::ChangePort
            | Deed::OptOut => self.change_validators(deed).await,
            Deed::DeleteSet
            | Deed::OrphanPods
            | Deed::ChangeImage
            | Deed::PauseNode
            | Deed::PauseSet
            | Deed::DropAnnotations
            | Deed::ForgeNotes
            | Deed::OnDelete
            | Deed::Partition => self.change_objects(deed).await,
            Deed::PauseList
            | Deed::EditList
            | Deed::BreakRecord
            | Deed::DeleteList
            | Deed::AddForeignKey => self.change_list(deed).await,
            Deed::DrainOne
            | Deed::DrainSome
            | Deed::DrainAll
            | Deed::HoldReady
            | Deed::SpoilNextStart
            | Deed::MoveAddress => self.disturb_pods(deed).await,
            Deed::Compact
            | Deed::BreakWatches
            | Deed::BreakReadings
            | Deed::BreakWrites
            | Deed::Outage
            | Deed::WebhookAway
            | Deed::WebhookSlow
            | Deed::OperatorAway => self.disturb_server(deed),
            Deed::Crash | Deed::CutOff | Deed::SecondLeader | Deed::StepClock => {
                self.disturb_ours(deed);
            }
        }
    }

    /// Ends what lasts for a while.
    pub(crate) async fn undo(&mut self, undo: Undo) {
        self.observer
            .lock()
            .tell("-", format_args!("ends: {undo:?}"));
        match undo {
            Undo::EndTrouble => self.faults.set_trouble(None),
            Undo::ReturnWebhook => {
                self.webhooks.set_away(false);
                self.webhooks.set_delay(Duration::ZERO);
            }
            Undo::ReturnOperator => self.start_operator(self.plan.operator.interval),
            Undo::Reconnect(user) => self.faults.reconnect(&user),
            Undo::StopSecondLeader => self.processes.repair(),
            Undo::SetClockBack => self.processes.step_clock(0),
            Undo::Release(pod) => self.sandbox.release_ready(crate::plan::NAMESPACE, &pod),
            other => self.undo_by_people(other).await,
        }
    }
}
