//! What a replica says of itself at /readyz.

use std::fmt::Display;

use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    ask::PATIENCE,
    finding::{Check, Finding},
};

/// Asks at this address.
pub(super) async fn look(address: &str) -> Finding {
    let why = match timeout(PATIENCE, readyz(address)).await {
        Ok(Ok(StatusCode::OK)) => {
            return Finding::pass(Check::Ready, format!("http://{address}/readyz says ready"));
        }
        Ok(Ok(status)) => format!(" says {status}"),
        Ok(Err(why)) => format!(": {why}"),
        Err(_) => format!(": no answer within {PATIENCE:?}"),
    };
    Finding::failed(Check::Ready, format!("http://{address}/readyz{why}"))
        .means("its caches are not full, it has no certificate, or it doesn't run")
        .fix("the replica's log says what it waits for")
}

async fn readyz(address: &str) -> Result<StatusCode, String> {
    let text = |error: &dyn Display| error.to_string();
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| text(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    let request = Request::get("/readyz")
        .header(header::HOST, address)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| text(&error))?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    driver.abort();
    answer
        .map(|answer| answer.status())
        .map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        admission::connections::{ConnectionLimits, ConnectionStats, serve},
        cli::check::finding::Outcome,
    };

    #[tokio::test]
    async fn readiness_is_what_the_endpoint_says() {
        let router = Router::new().route(
            "/readyz",
            get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "not ready") }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(serve(
            listener,
            None,
            router,
            ConnectionLimits::default(),
            ConnectionStats::default(),
            std::future::pending(),
        ));
        let finding = look(&address).await;
        assert_eq!(finding.outcome, Outcome::Failed);
        assert!(finding.text.contains("503"), "{finding:?}");
    }
}
