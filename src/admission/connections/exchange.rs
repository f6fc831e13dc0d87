//! One request and its answer, within their times.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{Router, body::Body as AxumBody, response::Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, Version, header::CONNECTION};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{sync::oneshot, time::sleep};
use tower::ServiceExt as _;

use super::{ConnectionLimits, activity, bodies::Share};

/// The answer of `app`, or 408 where the body does not come in time, or 503 where `app` does not or where there is no
/// room for the body.
///
/// In the latter cases the handler is dropped at its next await.
pub(super) async fn answer(
    app: Router,
    request: Request<Incoming>,
    mut activity: activity::Request,
    share: Share,
    limits: ConnectionLimits,
) -> Result<Response, Infallible> {
    let version = request.version();
    let share = Arc::new(share);
    let (request, arrived) = watch_body(request, Arc::clone(&share));
    let mut handler = pin!(app.oneshot(request));
    tokio::select! {
        biased;
        response = &mut handler => return response,
        () = share.given_up() => {
            let why = "too many bodies are on their way, and this one is the slowest\n";
            return Ok(unread(status(StatusCode::SERVICE_UNAVAILABLE, why), version));
        }
        () = arrived => {
            activity.complete();
            share.complete();
        }
        () = sleep(limits.body_timeout) => {
            let why = "the request's body did not arrive in time\n";
            return Ok(unread(status(StatusCode::REQUEST_TIMEOUT, why), version));
        }
    }
    tokio::select! {
        response = handler => response,
        () = sleep(limits.request_timeout) => {
            let why = "no answer within the time for a request\n";
            Ok(status(StatusCode::SERVICE_UNAVAILABLE, why))
        }
    }
}

/// The answer to a request whose body was not read to its end.
fn unread(mut response: Response, version: Version) -> Response {
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
fn watch_body(
    request: Request<Incoming>,
    share: Arc<Share>,
) -> (Request<AxumBody>, impl Future<Output = ()>) {
    let (arriving, arrived) = oneshot::channel::<Infallible>();
    let request = request.map(|inner| {
        let mut body = ArrivingBody {
            inner,
            share,
            turn: None,
            has_turn: false,
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
struct ArrivingBody {
    inner: Incoming,
    share: Arc<Share>,
    /// Waited for at the end of a large body, so that its reader sees the end only then.
    turn: Option<BoxFuture<'static, ()>>,
    has_turn: bool,
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
        if let Some(turn) = &mut self.turn {
            ready!(turn.as_mut().poll(cx));
            (self.turn, self.has_turn) = (None, true);
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && !self.share.grow(data.len())
        {
            // `answer` is woken by this, and drops us.
            return Poll::Pending;
        }
        if matches!(polled, Poll::Ready(None)) && !self.has_turn {
            self.turn = self.share.turn();
            if self.turn.is_some() {
                self.arriving = None;
                return self.poll_frame(cx);
            }
        }
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
