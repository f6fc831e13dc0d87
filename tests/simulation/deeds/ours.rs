//! What happens to our processes.

use std::time::Duration;

use super::{Deed, Undo};
use crate::world::World;

impl World {
    pub(super) fn disturb_ours(&mut self, deed: Deed) {
        match deed {
            Deed::Crash => {
                if let Some(user) = self.processes.any() {
                    self.processes.crash(&user);
                }
            }
            Deed::CutOff => {
                if let Some(user) = self.processes.any() {
                    self.sandbox.break_watches();
                    self.faults.cut_off(&user);
                    self.later(
                        Duration::from_secs(2),
                        Duration::from_secs(30),
                        Undo::Reconnect(user),
                    );
                }
            }
            Deed::SecondLeader => {
                self.processes.start_rogue();
                self.for_a_while(Undo::StopSecondLeader);
            }
            _ => {
                let (minutes, back) = (self.random.within(1, 10), self.random.percent(50));
                let seconds = i64::try_from(minutes * 60).unwrap_or(60);
                self.processes
                    .step_clock(if back { -seconds } else { seconds });
                self.for_a_while(Undo::SetClockBack);
            }
        }
    }
}
