//! One request and its answer, within their times.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use axum::{Router, body::Body as AxumBody, response::Response};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Version, header::CONNECTION};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{sync::oneshot, time::sleep};
use tower::ServiceExt as _;

use super::{ConnectionLimits, activity};

/// The answer of `app`, or 408 where the body does not come in time, or 503 where `app` does not.
///
/// In both latter cases the handler is dropped at its next await.
pub(super) async fn answer(
    app: Router,
    request: Request<Incoming>,
    mut activity: activity::Request,
    limits: ConnectionLimits,
) -> Result<Response, Infallible> {
    let version = request.version();
    let (request, arrived) = watch_body(request);
    let mut handler = pin!(app.oneshot(request));
    tokio::select! {
        biased;
        response = &mut handler => return response,
        () = arrived => activity.complete(),
        () = sleep(limits.body_timeout) => return Ok(too_slow_a_client(version)),
    }
    tokio::select! {
        response = handler => response,
        () = sleep(limits.request_timeout) => {
            let why = "no answer within the time for a request\n";
            Ok(status(StatusCode::SERVICE_UNAVAILABLE, why))
        }
    }
}

fn too_slow_a_client(version: Version) -> Response {
    let why = "the request's body did not arrive in time\n";
    let mut response = status(StatusCode::REQUEST_TIMEOUT, why);
    if version < Version::HTTP_2 {
        // The rest of the body is still on its way, so nothing else can follow (RFC 9110, 15.5.9).
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

fn status(status: StatusCode, why: &'static str) -> Response {
    let mut response = Response::new(AxumBody::from(why));
    *response.status_mut() = status;
    response
}

/// Makes the arrival of `request`'s body visible: the future is ready once the body was read to
/// its end, failed, or was dropped because nobody wants it.
fn watch_body(request: Request<Incoming>) -> (Request<AxumBody>, impl Future<Output = ()>) {
    let (arriving, arrived) = oneshot::channel::<Infallible>();
    let request = request.map(|inner| {
        let mut body = ArrivingBody {
            inner,
            arriving: Some(arriving),
        };
        body.notice_end();
        AxumBody::new(body)
    });
    let arrived = async {
        // Nothing is ever sent: the sender's end is the message.
        let _ = arrived.await;
    };
    (request, arrived)
}

/// A request's body that drops `arriving` at its end.
#[derive(Debug)]
struct ArrivingBody {
    inner: Incoming,
    arriving: Option<oneshot::Sender<Infallible>>,
}

impl ArrivingBody {
    fn notice_end(&mut self) {
        if self.inner.is_end_stream() {
            self.arriving = None;
        }
    }
}

impl Body for ArrivingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => self.notice_end(),
            Poll::Ready(None | Some(Err(_))) => self.arriving = None,
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
