//! Certificates: what is shown, what is taken anew, and what is refused.

use super::*;
use crate::http::tls::TlsError;

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it was closed");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (config, old) = write_certificate(dir.path(), "old.example");
    let tls = Tls::open(&config).unwrap().unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), HttpConfig::default()).await.unwrap();
    let server = Running::serve(server.with_tls(Some(tls.clone())), router());
    let connect = async |name, pem: &[u8]| connect_tls(server.address, name, pem, b"http/1.1").await;
    let mut open = connect("old.example", &old).await.unwrap();
    assert!(ask(&mut open).await.starts_with("HTTP/1.1 200"));
    assert!(!tls.reload().unwrap(), "nothing has changed");

    // One file without the other, and files that are broken, change nothing.
    for (file, text) in [("cert.pem", "nonsense"), ("key.pem", ""), ("cert.pem", "")] {
        let path = dir.path().join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        assert!(tls.reload().is_err(), "{file}");
        connect("old.example", &old).await.unwrap();
        std::fs::write(&path, good).unwrap();
    }
    let stranger = tempfile::tempdir().unwrap();
    write_certificate(stranger.path(), "old.example");
    std::fs::copy(stranger.path().join("key.pem"), dir.path().join("key.pem")).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Unfit { .. })), "somebody else's key");
    connect("old.example", &old).await.unwrap();

    let (_, new) = write_certificate(dir.path(), "new.example");
    assert!(tls.reload().unwrap());
    let mut fresh = connect("new.example", &new).await.unwrap();
    assert!(ask(&mut fresh).await.starts_with("HTTP/1.1 200"));
    assert!(connect("old.example", &old).await.is_err());
    assert!(ask(&mut open).await.starts_with("HTTP/1.1 200"), "what was open goes on");
    drop((open, fresh));
    server.stop().await;
}

#[test]
fn files_that_do_not_fit_are_refused_at_the_start_without_showing_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = write_certificate(dir.path(), "a.example");
    assert!(Tls::open(&TlsConfig::default()).unwrap().is_none());
    assert!(Tls::open(&config).unwrap().is_some());
    let missing = TlsConfig { cert_file: Some("/nowhere/cert.pem".into()), ..config.clone() };
    assert!(Tls::open(&missing).unwrap_err().to_string().contains("/nowhere/cert.pem is missing"));
    let key = std::fs::read_to_string(dir.path().join("key.pem")).unwrap();
    std::fs::write(dir.path().join("key.pem"), key.replace('M', "%")).unwrap();
    let error = Tls::open(&config).unwrap_err().to_string();
    assert!(error.contains("key.pem") && !error.contains(&key[30..60]), "{error}");
    let half = TlsConfig { key_file: None, ..config };
    assert_eq!(half.problems(), ["tls.key_file: must be set too when cert_file is"]);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let config = HttpConfig { handshake_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let (server, pem) = start_tls(config).await;
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(matches!(half.read(&mut [0]).await, Ok(0) | Err(_)));
    server.until(|counts| counts.open() == 0).await;
    connect_tls(server.address, "localhost", &pem, b"http/1.1").await.unwrap();
    server.stop().await;
}
