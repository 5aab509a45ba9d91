//! Bodies that are read whole before anything is done, such as JSON, come within a time as a whole. A client that drips
//! gets 408 and holds nothing any more.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::error::ApiError;

/// A middleware: the body of a request ends with an error after so long, and the answer is 408 then.
pub async fn in_time(State(within): State<Duration>, request: Request, next: Next) -> Response {
    let late = Arc::new(AtomicBool::new(false));
    let deadline = Instant::now() + within;
    let request = request.map(|body| Body::new(Timed { body, deadline, timer: None, late: late.clone() }));
    let response = next.run(request).await;
    if late.load(Ordering::Relaxed) {
        let details = format!("the body did not come within {} s", within.as_secs_f32());
        return ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", details).into_response();
    }
    response
}

/// A body with a deadline.
struct Timed {
    body: Body,
    deadline: Instant,
    /// Most bodies are there at once, and need none.
    timer: Option<Pin<Box<Sleep>>>,
    late: Arc<AtomicBool>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let in_time = Instant::now() < this.deadline;
        if polled.is_ready() && in_time {
            return polled;
        }
        let deadline = this.deadline;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if in_time && timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new("the body comes too slowly"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn_with_state, routing::post};
    use futures_util::stream;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_as_a_whole() {
        let router: Router = Router::new()
            .route("/", post(async |body: Bytes| body.len().to_string()))
            .layer(from_fn_with_state(Duration::from_secs(30), in_time));
        // A byte a second, for so many seconds.
        let send = async |seconds: u32| {
            let drops = stream::unfold(0, move |at| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                (at < seconds).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"x")), at + 1))
            });
            let request = Request::post("/").body(Body::from_stream(drops)).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            (status, axum::body::to_bytes(response.into_body(), 1000).await.unwrap())
        };
        assert_eq!(send(25).await, (StatusCode::OK, Bytes::from_static(b"25")));
        let started = Instant::now();
        let (status, body) = send(1_000_000).await;
        assert_eq!((status, started.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 30));
        assert!(String::from_utf8_lossy(&body).contains("too_slow"), "{body:?}");
    }
}
