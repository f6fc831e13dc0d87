//! What machines and networks do.

use std::{net::Ipv4Addr, time::Duration};

use super::{Deed, Undo};
use crate::{faults::Trouble, people::What, plan::NAMESPACE, world::World};

const READINGS: &[&str] = &["list", "watch"];
const WRITES: &[&str] = &["create", "update", "patch", "delete"];
const ALL: &[&str] = &[
    "get", "list", "watch", "create", "update", "patch", "delete",
];

impl World {
    fn pods(&self) -> Vec<String> {
        self.observer.lock().truth.pods.keys().cloned().collect()
    }

    pub(super) async fn disturb_pods(&mut self, deed: Deed) {
        let mut pods = self.pods();
        match deed {
            Deed::DrainOne | Deed::DrainSome => {
                let count = if deed == Deed::DrainOne {
                    1
                } else {
                    self.random.within(2, 4)
                };
                for _ in 0..count {
                    if let Some(pod) = self.random.take(&mut pods) {
                        self.people.delete(What::Pod(&pod), "Background").await;
                    }
                }
            }
            Deed::DrainAll => {
                self.observer.lock().outages += 1;
                for pod in &pods {
                    self.people.delete(What::Pod(pod), "Background").await;
                }
            }
            Deed::HoldReady => {
                if let Some(pod) = self.random.take(&mut pods) {
                    self.sandbox.hold_ready(NAMESPACE, &pod);
                    let most = self.plan.policy.stuck_after * 3;
                    self.later(Duration::from_secs(1), most, Undo::Release(pod));
                }
            }
            Deed::SpoilNextStart => {
                if let Some(pod) = self.random.take(&mut pods) {
                    self.sandbox.hold_next_ready(NAMESPACE, &pod);
                    let stuck_after = self.plan.policy.stuck_after;
                    self.later(stuck_after * 2, stuck_after * 4, Undo::Release(pod));
                }
            }
            _ => self.move_address(pods).await,
        }
    }

    /// One pod goes, and the next one that starts gets its address at once.
    async fn move_address(&mut self, mut pods: Vec<String>) {
        let (Some(one), Some(other)) = (self.random.take(&mut pods), self.random.take(&mut pods))
        else {
            return;
        };
        let address = {
            let observer = self.observer.lock();
            let pod = observer.truth.pods.get(&one);
            pod.and_then(|pod| pod.view.ip.as_ref()?.parse::<Ipv4Addr>().ok())
        };
        let Some(address) = address else {
            return;
        };
        self.sandbox.pin_address(NAMESPACE, &other, address);
        self.people.delete(What::Pod(&one), "Background").await;
        self.people.delete(What::Pod(&other), "Background").await;
    }

    pub(super) fn disturb_server(&mut self, deed: Deed) {
        let codes = [Some(500), Some(503), Some(429), Some(403), Some(404), None];
        let code = *self.random.pick(&codes).expect("there are some");
        let trouble = |verbs, code| Some(Trouble { verbs, code });
        match deed {
            Deed::Compact => {
                self.sandbox.compact();
                self.sandbox.break_watches();
            }
            Deed::BreakWatches => self.sandbox.break_watches(),
            Deed::BreakReadings => {
                self.sandbox.break_watches();
                self.faults.set_trouble(trouble(READINGS, code));
                self.later(
                    Duration::from_secs(1),
                    Duration::from_secs(15),
                    Undo::EndTrouble,
                );
            }
            Deed::BreakWrites => {
                self.faults.set_trouble(trouble(WRITES, code.or(Some(409))));
                self.for_a_while(Undo::EndTrouble);
            }
            Deed::Outage => {
                self.sandbox.break_watches();
                self.faults.set_trouble(trouble(ALL, None));
                self.later(
                    Duration::from_secs(1),
                    Duration::from_secs(20),
                    Undo::EndTrouble,
                );
            }
            Deed::WebhookAway => {
                self.webhooks.set_away(true);
                self.for_a_while(Undo::ReturnWebhook);
            }
            Deed::WebhookSlow => {
                let delay = self
                    .random
                    .time(Duration::from_millis(100), Duration::from_secs(4));
                self.webhooks.set_delay(delay);
                self.for_a_while(Undo::ReturnWebhook);
            }
            _ => {
                self.operator = None;
                self.for_a_while(Undo::ReturnOperator);
            }
        }
    }
}
