//! The end: what is in progress finishes, and nothing new begins.

use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;

use super::{
    http2::{connect, request, text},
    *,
};

#[tokio::test]
async fn an_upload_and_a_download_in_progress_finish() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let halves = async move || {
        let second = async move {
            wait.clone().wait_for(|go| *go).await.unwrap();
            Ok::<_, io::Error>(Bytes::from_static(b"second"))
        };
        Body::from_stream(stream::iter([Ok(Bytes::from_static(b"first "))]).chain(stream::once(second)))
    };
    let router = router().route("/halves", get(halves));
    let dir = tempfile::tempdir().unwrap();
    let (tls, pem) = write_certificate(dir.path(), "localhost");
    let bind = async || Server::bind(([127, 0, 0, 1], 0).into(), HttpConfig::default()).await.unwrap();
    let plain = Running::serve(bind().await, router.clone());
    let server = Running::serve(bind().await.with_tls(Tls::open(&tls).unwrap()), router);

    let mut upload = plain.connect().await;
    upload.write_all(b"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await.unwrap();
    let mut idle = plain.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"hello") {
        idle.read_buf(&mut greeting).await.unwrap();
    }
    let (mut sender, driver) = connect(&server, &pem).await;
    let mut download = sender.send_request(request("GET", "/halves", vec![])).await.unwrap().into_body();
    assert_eq!(download.frame().await.unwrap().unwrap().into_data().unwrap(), "first ");
    plain.until(|counts| counts.open() == 2).await;

    plain.stop.cancel();
    server.stop.cancel();
    // A connection without a request is closed, and no new one is taken.
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    until(|| std::net::TcpStream::connect(plain.address).is_err()).await;
    // GOAWAY: the client begins nothing more on this connection.
    let told = async { while sender.send_request(request("GET", "/", vec![])).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("the client is told");

    assert!(!plain.served.is_finished() && !server.served.is_finished());
    upload.write_all(b"def").await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('6'), "{answer}");
    go.send(true).unwrap();
    assert_eq!(download.collect().await.unwrap().to_bytes(), "second");
    driver.await.unwrap().unwrap();
    plain.served.await.unwrap();
    server.served.await.unwrap();
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_broken_off() {
    let config = HttpConfig { drain: Duration::from_millis(50), ..HttpConfig::default() };
    let (server, pem) = start_tls(config).await;
    let (mut sender, driver) = connect(&server, &pem).await;
    let endless = sender.send_request(request("GET", "/endless", vec![])).await.unwrap();
    let counts = server.counts.clone();
    server.stop().await;
    let _ = driver.await.unwrap();
    until(|| counts.open() == 0).await;
    drop(endless);
    let (server, pem) = start_tls(HttpConfig::default()).await;
    let (mut sender, _driver) = connect(&server, &pem).await;
    assert_eq!(text(sender.send_request(request("GET", "/", vec![])).await.unwrap()).await.0, 200);
    server.stop().await;
}
