//! Certificates and their CAs that end while validators are created.

use std::{sync::Arc, time::Duration};

use super::{Installation, SECRET, upgrading::Admissions};
use crate::real::control_plane::eventually;

/// Enough for a CA of 36 seconds to be replaced, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn certificates_and_cas_of_seconds_are_replaced_and_no_admission_fails() {
    let installation = Arc::new(Installation::prepare().await);
    let values = [
        // A call that fails would refuse the write then.
        "webhook.failurePolicy=Fail",
        "tls.mode=self",
        "tls.lifetime=12s",
        "tls.caLifetime=36s",
    ];
    installation.apply("install", &values).await;
    installation.roll_out().await;
    installation.injects("default").await;

    let admissions = Admissions::start(&installation);
    for _ in 0..2 {
        let signer = installation.signer().await;
        assert!(!signer.is_empty());
        eventually("the CA is trusted no longer", PATIENCE, async || {
            let bundle = installation.bundle().await;
            !bundle.is_empty() && !bundle.contains(&signer)
        })
        .await;
    }
    let (done, faults) = admissions.end().await;
    assert_eq!(faults, Vec::<String>::new(), "of {done}");
    assert!(done > 100, "only {done} admissions were tried");
    assert_eq!(installation.refused(), []);
    installation.end_pods().await;
}

impl Installation {
    async fn bundle(&self) -> String {
        let bundle = self.secret(SECRET).await.remove("ca.crt");
        String::from_utf8(bundle.unwrap_or_default()).expect("PEM is text")
    }

    /// The certificate of the CA that signs: the first of the bundle.
    async fn signer(&self) -> String {
        let bundle = self.bundle().await;
        let end = "-----END CERTIFICATE-----";
        let first = bundle.split_inclusive(end).next();
        first.unwrap_or_default().to_owned()
    }
}
