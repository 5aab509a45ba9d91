//! Floods over HTTP/2, frame by frame (RFC 9113).

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    http2::{connect, request},
    *,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `:method GET`, `:scheme https`, `:path /` from the static table, and `:authority x` (RFC 7541).
const HEAD: &[u8] = &[0x82, 0x87, 0x84, 0x41, 0x01, b'x'];
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Sends `frames` until the server closes the connection, and says how many bytes it took until then, at most `bytes_max`.
async fn flood(
    server: &Running,
    pem: &[u8],
    mut frames: impl FnMut(u32) -> Vec<u8>,
    bytes_max: usize,
) -> usize {
    let stream = connect_tls(server.address, "localhost", pem, b"h2").await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    // What comes is thrown away, so that nobody has to wait for us.
    let closed = tokio::spawn(async move {
        let mut waste = vec![0; 64 << 10];
        while matches!(read.read(&mut waste).await, Ok(len) if len > 0) {}
    });
    write.write_all(PREFACE).await.unwrap();
    write.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let (mut at, mut sent) = (0, 0);
    while !closed.is_finished() && sent < bytes_max {
        let bytes = frames(at);
        at += 1;
        sent += bytes.len();
        if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
            break;
        }
    }
    tokio::time::timeout(Duration::from_secs(30), closed).await.expect("it is closed").unwrap();
    sent
}

#[tokio::test]
async fn streams_that_are_reset_at_once_close_the_connection() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = begun.clone();
    let router = Router::new().fallback(async move || {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>().await;
    });
    let dir = tempfile::tempdir().unwrap();
    let (tls, pem) = write_certificate(dir.path(), "localhost");
    let config = HttpConfig { write_timeout: Duration::from_millis(40), ..HttpConfig::default() };
    let server = Server::bind(([127, 0, 0, 1], 0).into(), config).await.unwrap();
    let server = Running::serve(server.with_tls(Tls::open(&tls).unwrap()), router);
    // Each is a request that is taken back in the same breath, as in CVE-2023-44487.
    let resets = |at: u32| {
        let stream = 2 * at + 1;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, HEAD);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    };
    let sent = flood(&server, &pem, resets, 500 << 20).await;
    assert!(sent < 500 << 20, "it was not closed");
    server.until(|counts| counts.open() == 0).await;
    println!("{sent} bytes, {} requests begun, {:?}", begun.load(Ordering::Relaxed), server.counts);
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_given_up_one_by_one_close_the_connection() {
    let config = HttpConfig {
        resets_max: 20,
        write_timeout: Duration::from_millis(40),
        drain: Duration::from_millis(10),
        ..HttpConfig::default()
    };
    let (server, pem) = start_tls(config).await;
    let (mut sender, driver) = connect(&server, &pem).await;
    // Those that are answered make up for others.
    for _ in 0..30 {
        sender.send_request(request("GET", "/", vec![])).await.unwrap();
    }
    let give_up = async {
        while !driver.is_finished() {
            let Ok(endless) = sender.send_request(request("GET", "/endless", vec![])).await else { break };
            drop(endless);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), give_up).await.expect("it is closed");
    assert_eq!(server.counts.flooding(), 1);
    server.until(|counts| counts.open() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn headers_without_end_close_the_connection() {
    let (server, pem) = start_tls(HttpConfig::default()).await;
    // `x: aaa...`, a literal that is not indexed, again and again.
    let mut field = vec![0x00, 0x01, b'x', 0x7f, 0x81, 0x07];
    field.resize(field.len() + 1024, b'a');
    let endless = |at: u32| match at {
        0 => frame(HEADERS, END_STREAM, 1, HEAD),
        _ => frame(CONTINUATION, 0, 1, &field),
    };
    let sent = flood(&server, &pem, endless, 100 << 20).await;
    assert!(sent < 100 << 20, "it was not closed");
    // Small ones, which fill no memory, cost time for ever.
    let empty = |at: u32| match at {
        0 => frame(HEADERS, END_STREAM, 1, HEAD),
        _ => frame(CONTINUATION, 0, 1, &[]),
    };
    let sent = flood(&server, &pem, empty, 100 << 20).await;
    assert!(sent < 100 << 20, "it was not closed");
    server.until(|counts| counts.open() == 0).await;
    assert!(connect(&server, &pem).await.0.send_request(request("GET", "/", vec![])).await.is_ok());
    server.stop().await;
}
