//! Clients over HTTP/1.1 that are slow, or many.

use std::collections::VecDeque;

use super::*;

#[tokio::test]
async fn half_sent_heads_keep_nobody_out() {
    let config = HttpConfig {
        connections_max: 100,
        connections_per_client_max: 10_000,
        header_timeout: Duration::from_secs(3600),
        ..HttpConfig::default()
    };
    let server = Running::start(config).await;
    let mut held = VecDeque::new();
    for at in 0..3000 {
        let mut slow = server.connect().await;
        // It may have been closed to make room already.
        let _ = slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
        held.push_back(slow);
        // More of them stay open than there are places.
        if held.len() > 300 {
            held.pop_front();
        }
        if at % 100 == 99 {
            let answer = server.ask("/").await;
            assert!(answer.ends_with("hello"), "{at}: {answer}");
        }
        assert!(server.counts.open() <= 100);
    }
    assert!(server.counts.evicted() >= 2500, "{:?}", server.counts);
    drop(held);
    server.until(|counts| counts.open() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_as_a_whole() {
    let config = HttpConfig { header_timeout: Duration::from_millis(200), ..HttpConfig::default() };
    let server = Running::start(config).await;
    let (mut read, mut write) = server.connect().await.into_split();
    write.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-drip: ").await.unwrap();
    let mut drips = tokio::time::interval(Duration::from_millis(10));
    let mut answer = Vec::new();
    let mut closed = tokio::spawn(async move { read.read_to_end(&mut answer).await.map(|_| answer) });
    let dripping = async {
        loop {
            tokio::select! {
                _ = drips.tick() => drop(write.write_all(b"x").await),
                answer = &mut closed => return answer.unwrap(),
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), dripping).await.expect("it is cut off");
    assert!(answer.is_err() || !answer.unwrap().starts_with(b"HTTP/1.1 200"));
    server.until(|counts| counts.open() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let config = HttpConfig { write_timeout: Duration::from_millis(200), ..HttpConfig::default() };
    let server = Running::start(config).await;
    let mut client = server.connect().await;
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.until(|counts| counts.open() == 1).await;
    server.until(|counts| counts.open() == 0).await;
    server.stop().await;
}

/// The end of its answer has left our hands and waits for the client.
#[tokio::test]
async fn a_slow_reader_of_an_answers_end_is_not_closed_to_make_room() {
    let config = HttpConfig { connections_max: 1, drain: Duration::from_millis(10), ..HttpConfig::default() };
    let server = Running::start(config).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(server.address).await.unwrap();
    slow.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    slow.peek(&mut [0]).await.unwrap();
    let mut waits = Box::pin(server.ask("/"));
    assert!(tokio::time::timeout(Duration::from_millis(200), waits.as_mut()).await.is_err());
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.len() > 5_000_000 && answer.ends_with("xy"), "{}", answer.len());
    assert!(waits.await.ends_with("hello"));
    assert_eq!(server.counts.evicted(), 0);
    server.stop().await;
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_others_theirs() {
    let config = HttpConfig { connections_per_client_max: 10, ..HttpConfig::default() };
    let server = Running::start(config).await;
    let mut held = Vec::new();
    for _ in 0..30 {
        held.push(server.connect().await);
    }
    server.until(|counts| counts.refused() == 20).await;
    assert_eq!(server.counts.open(), 10);
    for refused in &mut held[10..] {
        assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)), "closed at once");
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    drop(held);
    server.until(|counts| counts.open() == 0).await;
    assert!(server.ask("/").await.ends_with("hello"), "and the first one again");
    server.stop().await;
}

#[tokio::test]
async fn busy_connections_are_not_closed_to_make_room() {
    let config = HttpConfig { connections_max: 2, drain: Duration::from_millis(10), ..HttpConfig::default() };
    let server = Running::start(config).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        client.write_all(b"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na").await.unwrap();
        busy.push(client);
    }
    server.until(|counts| counts.open() == 2).await;
    let mut waits = Box::pin(server.ask("/"));
    assert!(tokio::time::timeout(Duration::from_millis(200), waits.as_mut()).await.is_err());
    assert_eq!(server.counts.evicted(), 0);
    busy[1].write_all(b"bc").await.unwrap();
    assert!(waits.await.ends_with("hello"), "it has waited");
    let mut answer = [0; 12];
    busy[1].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    server.stop().await;
}
