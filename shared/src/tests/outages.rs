//! Redis that is away costs nothing, Redis that stands still costs one timeout, and both come back by themselves.

use super::*;

#[tokio::test]
async fn a_server_that_never_was_costs_nothing() {
    // Nobody listens on the port of a listener that is gone.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let link = Link::new(&format!("redis://{free}"), config(), &SECRET).unwrap();
    let limit = limit(Some(&link), 3);
    for expected in [true, true, true, false] {
        assert_eq!(limit.take("a".into()).await.is_ok(), expected, "as without it");
    }
    assert_eq!(memo(Some(&link)).get(&names(&["a"])).await, [None]);
}

#[tokio::test]
async fn a_killed_server_is_done_without_and_used_again_when_it_is_back() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let link = linked(&server).await;
    let (limit, memo) = (limit(Some(&link), 3), memo(Some(&link)));
    memo.put(vec![("a".into(), "b".into())]);
    until(async || memo.get(&names(&["a"])).await[0].is_some()).await;
    server.kill();
    assert_eq!(memo.get(&names(&["a"])).await, [None]);
    for expected in [true, true, true, false] {
        assert_eq!(limit.take("a".into()).await.is_ok(), expected);
    }
    assert!(!link.is_up());

    server.restart();
    until(async || link.is_up()).await;
    assert_eq!(memo.get(&names(&["a"])).await, [None], "it is empty");
    memo.put(vec![("a".into(), "c".into())]);
    until(async || memo.get(&names(&["a"])).await[0].as_deref() == Some("c")).await;
    // The script is gone from the server too, and is sent again.
    assert!(limit.take("other".into()).await.is_ok());
    assert!(server.command("DBSIZE").contains(":2"));
}

#[tokio::test]
async fn an_emptied_server_is_used_on() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let link = linked(&server).await;
    let limit = limit(Some(&link), 3);
    assert!(limit.take("a".into()).await.is_ok());
    server.command("FLUSHALL");
    server.command("SCRIPT FLUSH");
    assert!(limit.take("a".into()).await.is_ok());
    assert!(server.command("DBSIZE").contains(":1"));
    assert!(link.is_up());
}

#[tokio::test]
async fn a_stalled_server_costs_one_timeout_however_many_ask() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let link = linked(&server).await;
    let memo = memo(Some(&link));
    server.stall();
    // All ask at once: each waits for no longer than the timeout. Whoever comes later does not wait at all, which is seen by
    // how many can be asked: were each to wait, it would take hours.
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn({
                let memo = memo.clone();
                async move { memo.get(&names(&["a"])).await }
            })
        })
        .collect();
    for asked in waiting {
        assert_eq!(asked.await.unwrap(), [None]);
    }
    assert!(!link.is_up());
    for _ in 0..10_000 {
        assert_eq!(memo.get(&names(&["a"])).await, [None]);
    }
    server.go_on();
    until(async || link.is_up()).await;
    memo.put(vec![("a".into(), "b".into())]);
    until(async || memo.get(&names(&["a"])).await[0].is_some()).await;
}

#[tokio::test]
async fn no_more_is_asked_at_once_than_allowed() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let few = RedisConfig { in_flight_max: 2, ..config() };
    let link = linked_with(&server, few, &SECRET).await;
    server.stall();
    let (begun, mut asked) = (std::sync::atomic::AtomicUsize::new(0), tokio::task::JoinSet::new());
    let begun = std::sync::Arc::new(begun);
    for _ in 0..2 {
        let (link, begun) = (link.clone(), begun.clone());
        asked.spawn(async move {
            link.ask("test", async |mut redis| {
                begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                redis::cmd("PING").query_async::<String>(&mut redis).await
            })
            .await
        });
    }
    until(async || begun.load(std::sync::atomic::Ordering::SeqCst) == 2).await;
    let third =
        link.ask("test", async |mut redis| redis::cmd("PING").query_async::<String>(&mut redis).await).await;
    assert_eq!(third, None);
    assert!(link.is_up(), "it did not wait for the others to be given up");
    server.go_on();
    asked.join_all().await;
}

#[tokio::test]
async fn a_server_that_refuses_things_is_not_connected_to_again_and_again() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let link = linked(&server).await;
    let (limit, memo) = (limit(Some(&link), 100), memo(Some(&link)));
    assert!(limit.take("a".into()).await.is_ok());
    let keys = server.command("KEYS *");
    let name = keys.lines().find(|line| line.starts_with("pinstripe")).unwrap().trim().to_string();
    server.command(&format!("DEL {name}"));
    server.command(&format!("LPUSH {name} nonsense"));
    let connections = || {
        let stats = server.command("INFO stats");
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = connections();
    for _ in 0..50 {
        assert!(limit.take("a".into()).await.is_ok(), "each counts for itself");
    }
    memo.put(vec![("a".into(), "b".into())]);
    until(async || memo.get(&names(&["a"])).await[0].is_some()).await;
    assert!(link.is_up());
    // The second question about it came by a connection of its own.
    assert_eq!(connections(), before + 1 + u64::from(before == 0));
}
