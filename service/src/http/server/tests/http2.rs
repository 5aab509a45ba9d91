//! HTTP/2: that it works, and what a client may make of it.

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// A connection over TLS, and what drives it.
pub(super) async fn connect(server: &Running, pem: &[u8]) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = connect_tls(server.address, "localhost", pem, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let made =
        hyper::client::conn::http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.unwrap();
    (sender, tokio::spawn(connection))
}

pub(super) fn request(method: &str, path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    let uri = format!("https://localhost{path}");
    Request::builder().method(method).uri(uri).body(Full::new(body.into())).unwrap()
}

pub(super) async fn text(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn bodies_go_both_ways_and_a_refused_one_costs_only_its_stream() {
    let (server, pem) = start_tls(HttpConfig::default()).await;
    let (mut sender, driver) = connect(&server, &pem).await;
    assert_eq!(
        text(sender.send_request(request("GET", "/", vec![])).await.unwrap()).await,
        (200, "hello".into())
    );
    // Far more than the window.
    let many = sender.send_request(request("POST", "/count", vec![7; 20_000_000])).await.unwrap();
    assert_eq!(text(many).await, (200, "20000000".into()));
    let refused = sender.send_request(request("POST", "/full", vec![7; 20_000_000])).await.unwrap();
    assert_eq!(text(refused).await, (507, "full".into()));
    let again = sender.send_request(request("POST", "/count", vec![7; 1000])).await.unwrap();
    assert_eq!(text(again).await, (200, "1000".into()));
    let mut endless = sender.send_request(request("GET", "/endless", vec![])).await.unwrap().into_body();
    let mut taken = 0;
    while taken < 5 << 20 {
        taken += endless.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    drop(endless);
    let host = sender.send_request(request("GET", "/host?q=1", vec![])).await.unwrap();
    assert_eq!(text(host).await, (200, "localhost /host?q=1".into()), "as over HTTP/1.1");
    let large = sender.send_request(request("GET", "/large", vec![])).await.unwrap();
    assert_eq!(large.headers()["content-length"], "5000000");
    let (status, body) = text(large).await;
    assert!(status == 200 && body.len() == 5_000_000 && body.ends_with("xy"));
    let head = sender.send_request(request("HEAD", "/", vec![])).await.unwrap();
    assert_eq!(text(head).await, (200, String::new()));
    drop(sender);
    driver.await.unwrap().unwrap();
    server.until(|counts| counts.open() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_so() {
    let config = HttpConfig { requests_max: 2, drain: Duration::from_millis(10), ..HttpConfig::default() };
    let (server, pem) = start_tls(config).await;
    let (mut sender, _driver) = connect(&server, &pem).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        busy.push(sender.send_request(request("GET", "/endless", vec![])).await.unwrap());
    }
    let (status, body) = text(sender.send_request(request("GET", "/", vec![])).await.unwrap()).await;
    assert!(status == 503 && body.contains(r#""reason":"busy""#), "{status} {body}");
    assert_eq!(server.counts.busy(), 1);
    drop(busy);
    let mut again = sender.clone();
    let answered = async {
        while text(again.send_request(request("GET", "/", vec![])).await.unwrap()).await.0 != 200 {}
    };
    tokio::time::timeout(Duration::from_secs(30), answered).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn one_client_has_so_many_requests_on_all_its_connections() {
    let config =
        HttpConfig { requests_per_client_max: 3, drain: Duration::from_millis(10), ..HttpConfig::default() };
    let (server, pem) = start_tls(config).await;
    let (mut one, _one) = connect(&server, &pem).await;
    let (mut other, _other) = connect(&server, &pem).await;
    let mut busy = Vec::new();
    for second in [false, true, false] {
        let sender = if second { &mut other } else { &mut one };
        busy.push(sender.send_request(request("GET", "/endless", vec![])).await.unwrap());
    }
    let refused = other.send_request(request("GET", "/", vec![])).await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    let (status, body) = text(refused).await;
    assert!(status == 429 && body.contains(r#""reason":"too_many_in_progress""#), "{status} {body}");
    assert_eq!((server.counts.greedy(), server.counts.busy()), (1, 0));
    drop(busy.pop());
    let answered = async {
        while text(other.send_request(request("GET", "/", vec![])).await.unwrap()).await.0 != 200 {}
    };
    tokio::time::timeout(Duration::from_secs(30), answered).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_stands_still_is_let_go_of_and_the_others_go_on() {
    let config = HttpConfig {
        write_timeout: Duration::from_millis(200),
        requests_max: 2,
        drain: Duration::from_millis(10),
        ..HttpConfig::default()
    };
    let (server, pem) = start_tls(config).await;
    let (mut sender, _driver) = connect(&server, &pem).await;
    // The client's window fills and nobody reads.
    let mut stalled = sender.send_request(request("GET", "/endless", vec![])).await.unwrap().into_body();
    server.until(|counts| counts.stalled() == 1).await;
    assert_eq!(server.counts.open(), 1);
    let _endless = sender.send_request(request("GET", "/endless", vec![])).await.unwrap();
    let broken = async { while let Some(Ok(_)) = stalled.frame().await {} };
    tokio::time::timeout(Duration::from_secs(30), broken).await.expect("the rest does not come");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let config = HttpConfig { header_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let (server, pem) = start_tls(config).await;
    let (mut sender, driver) = connect(&server, &pem).await;
    assert_eq!(text(sender.send_request(request("GET", "/", vec![])).await.unwrap()).await.0, 200);
    driver.await.unwrap().unwrap();
    server.until(|counts| counts.open() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn without_tls_there_is_no_http2() {
    let server = Running::start(HttpConfig::default()).await;
    let mut client = server.connect().await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    server.stop().await;
}
