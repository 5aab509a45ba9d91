//! An HTTP server that answers as a test says, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use content::{Block, Cid};
use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinHandle};

use super::dags::car;

/// What a server was asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) cid: Cid,
    pub(super) is_car: bool,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
}

pub(super) struct Server {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Requests of which the body was not sent yet, and the most of them at once.
    at_once: Arc<(AtomicUsize, AtomicUsize)>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Asked) -> A + Send + Sync + Clone + 'static,
        A: Future<Output = Response> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let at_once: Arc<(AtomicUsize, AtomicUsize)> = Arc::default();
        let (log, running) = (Arc::clone(&asked), Arc::clone(&at_once));
        let router = Router::new().fallback(move |request: Request| {
            let request = parse(&request);
            log.lock().push(request.clone());
            let (answer, running) = (answer.clone(), Arc::clone(&running));
            async move {
                running.1.fetch_max(running.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let response = answer(request).await;
                running.0.fetch_sub(1, Ordering::SeqCst);
                response
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, asked, at_once, task }
    }

    /// A gateway as it should be, that has these blocks.
    pub(super) async fn whole(blocks: &[Block]) -> Self {
        let blocks = by_cid(blocks);
        Self::start(move |asked| std::future::ready(serve(&blocks, &asked))).await
    }

    /// One that has these blocks and makes no CARs.
    pub(super) async fn without_cars(blocks: &[Block]) -> Self {
        let blocks = by_cid(blocks);
        Self::start(move |asked| {
            let refusal = StatusCode::NOT_ACCEPTABLE.into_response();
            std::future::ready(if asked.is_car { refusal } else { serve(&blocks, &asked) })
        })
        .await
    }

    /// One that gives this for every CAR, and no block but the first of these.
    pub(super) async fn of_car(
        blocks: &[Block],
        body: impl Fn() -> Body + Send + Sync + Clone + 'static,
    ) -> Self {
        let first = by_cid(&blocks[..1]);
        Self::start(move |asked| {
            std::future::ready(if asked.is_car { body().into_response() } else { serve(&first, &asked) })
        })
        .await
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// The single blocks that it was asked for, in this order.
    pub(super) fn blocks_asked(&self) -> Vec<Cid> {
        self.asked().into_iter().filter(|asked| !asked.is_car).map(|asked| asked.cid).collect()
    }

    pub(super) fn cars_asked(&self) -> usize {
        self.asked().iter().filter(|asked| asked.is_car).count()
    }

    /// The most requests that it was answering at one time.
    pub(super) fn most_at_once(&self) -> usize {
        self.at_once.1.load(Ordering::SeqCst)
    }
}

fn parse(request: &Request) -> Asked {
    let uri = request.uri();
    let query = uri.query().unwrap_or_default().to_owned();
    let cid = uri.path().rsplit('/').next().unwrap_or_default();
    Asked {
        cid: cid.parse().unwrap_or_else(|_| panic!("no cid in {uri}")),
        is_car: query.contains("format=car"),
        query,
        headers: request.headers().clone(),
    }
}

pub(super) type Blocks = Arc<BTreeMap<Cid, Bytes>>;

pub(super) fn by_cid(blocks: &[Block]) -> Blocks {
    Arc::new(blocks.iter().map(|block| (block.cid.clone(), block.bytes.clone())).collect())
}

/// What a gateway with these blocks answers. A CAR ends where one is missing.
pub(super) fn serve(blocks: &BTreeMap<Cid, Bytes>, asked: &Asked) -> Response {
    match blocks.get(&asked.cid) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(bytes) if !asked.is_car => bytes.clone().into_response(),
        Some(_) => {
            let (car, is_whole) = car(blocks, &asked.cid);
            if is_whole { car.into_response() } else { broken_off(car).into_response() }
        }
    }
}

/// A body that the connection breaks off after.
pub(super) fn broken_off(bytes: Bytes) -> Body {
    let parts = [Ok(bytes), Err(std::io::Error::other("broken off"))];
    // The connection sends what it has before it meets the error.
    Body::from_stream(stream::iter(parts).then(|part| async {
        tokio::task::yield_now().await;
        part
    }))
}

/// A body that stops without an end.
pub(super) fn stalled(bytes: Bytes) -> Body {
    let part: Result<_, std::io::Error> = Ok(bytes);
    Body::from_stream(stream::iter([part]).chain(stream::pending()))
}

/// A body that begins so and then goes on with the same for ever.
pub(super) fn endless(begin: Bytes, again: Bytes) -> Body {
    let begin: Result<_, std::io::Error> = Ok(begin);
    Body::from_stream(stream::iter([begin]).chain(stream::repeat_with(move || Ok(again.clone()))))
}

pub(super) fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to.to_owned())]).into_response()
}
