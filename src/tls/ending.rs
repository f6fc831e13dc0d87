//! A certificate that ends soon, and that nobody has renewed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::warn;

use super::{CertificateStore, ServingCertificate};
use crate::domain::time::rfc3339;

/// With less than this left somebody should look; of a short life it is a quarter. Who renews does so long before.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Between two looks.
const LOOK: Duration = Duration::from_mins(10);
/// Between two times that it is told.
const DAY: Duration = Duration::from_hours(24);

/// Looks for ever whether the certificate in `store` ends soon. Says so in the log, and to a person by `tell`, each at
/// most once a day; `tell` says whether it did.
pub async fn watch_ending(
    store: Arc<CertificateStore>,
    clock: impl Fn() -> Timestamp + Send,
    tell: impl Fn(&str) -> bool + Send,
) -> Infallible {
    let (mut logged, mut told) = (None, None);
    let is_due = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() >= DAY);
    loop {
        let current = store.current();
        if let Some(note) = current.and_then(|it| ending_note(&it, clock())) {
            if is_due(logged) {
                warn!(note, "Serving certificate was not renewed");
                logged = Some(Instant::now());
            }
            if is_due(told) && tell(&note) {
                told = Some(Instant::now());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What a person should know of this certificate, where it ends soon.
fn ending_note(certificate: &ServingCertificate, now: Timestamp) -> Option<String> {
    let end = certificate.not_after();
    let life = end.duration_since(certificate.not_before());
    let is_soon = end.duration_since(now) < SOON.min(life / 4);
    let verb = if end > now { "ends" } else { "has ended" };
    is_soon.then(|| {
        format!(
            "the webhook's certificate {verb} at {} and was not renewed; after that the API server goes on without the \
             webhook, and new validators are given the list by one restart each",
            rfc3339(end)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::tls::generate::tests::{DAY as DAY_OF_LIFE, NOON, authority, names};

    fn certificate(days: u32) -> ServingCertificate {
        let pair = authority().issue(&names(), DAY_OF_LIFE * days, NOON);
        ServingCertificate::from_pem(&pair.unwrap(), "a test").unwrap()
    }

    #[test]
    fn a_week_is_soon_and_of_a_short_life_a_quarter() {
        let is_told = |days: u32, passed: u32| {
            ending_note(&certificate(days), NOON + DAY_OF_LIFE * passed).is_some()
        };
        assert!(!is_told(90, 60), "it is renewed about now");
        assert!(!is_told(90, 82) && is_told(90, 84));
        assert!(!is_told(8, 5) && is_told(8, 7));
        let ended = ending_note(&certificate(8), NOON + DAY_OF_LIFE * 9).unwrap();
        assert!(ended.contains("has ended at 2"), "{ended}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_a_day_by_who_can_until_it_is_renewed() {
        let store = Arc::new(CertificateStore::default());
        store.replace(certificate(90));
        let start = Instant::now();
        let clock = move || NOON + DAY_OF_LIFE * 84 + start.elapsed();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let hours = move || start.elapsed().as_secs() / 3600;
        // Another replica leads for the first three hours.
        let tell = move |_: &str| {
            let can = hours() >= 3;
            if can {
                telling.lock().unwrap().push(hours());
            }
            can
        };
        let watching = tokio::spawn(watch_ending(Arc::clone(&store), clock, tell));
        tokio::time::sleep(Duration::from_hours(60)).await;
        assert_eq!(*told.lock().unwrap(), [3, 27, 51]);
        store.replace(certificate(180));
        tokio::time::sleep(Duration::from_hours(60)).await;
        assert_eq!(told.lock().unwrap().len(), 3);
        watching.abort();
    }
}
