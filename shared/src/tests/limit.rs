//! A rate holds for all together, and for each alone when they cannot ask.

use super::*;

async fn taken(limit: &SharedLimit<String>, key: &str, tries: usize) -> usize {
    let mut taken = 0;
    for _ in 0..tries {
        taken += usize::from(limit.take(key.to_string()).await.is_ok());
    }
    taken
}

#[tokio::test]
async fn each_counts_for_itself_without_redis() {
    let limit = limit(None, 5);
    assert_eq!(taken(&limit, "a", 9).await, 5);
    assert_eq!(taken(&limit, "b", 3).await, 3);
}

#[tokio::test]
async fn all_together_have_one_share() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (one, other) = (linked(&server).await, linked(&server).await);
    let (one, other) = (limit(Some(&one), 10), limit(Some(&other), 10));
    assert_eq!(taken(&one, "a", 6).await, 6);
    assert_eq!(taken(&other, "a", 9).await, 4);
    let wait = other.take("a".to_string()).await.unwrap_err().wait;
    assert!(wait > Duration::from_secs(900) && wait <= Duration::from_secs(1_000), "{wait:?}");
    assert_eq!(taken(&one, "a", 3).await, 0);
    assert_eq!(taken(&other, "b", 3).await, 3, "another one's share");
    let keys = server.command("KEYS *");
    assert!(!keys.contains("tests:a") && keys.contains("pinstripe:limit:"), "{keys}");
    let found = server.command("DBSIZE");
    assert_eq!(found.trim(), ":2");
}

#[tokio::test]
async fn one_share_however_many_ask_at_the_same_time() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let link = linked(&server).await;
        asking.spawn(async move { taken(&limit(Some(&link), 40), "a", 40).await });
    }
    assert_eq!(asking.join_all().await.iter().sum::<usize>(), 40);
}

#[tokio::test]
async fn nonsense_in_redis_is_a_full_wait_at_most() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let link = linked(&server).await;
    let limit = limit(Some(&link), 10);
    assert_eq!(taken(&limit, "a", 1).await, 1);
    let keys = server.command("KEYS *");
    let name = keys.lines().find(|line| line.starts_with("pinstripe")).unwrap().trim().to_string();
    for (nonsense, left) in [("nonsense", 1), ("99999999999999999999", 0), ("-1e300", 1)] {
        server.command(&format!("SET {name} {nonsense}"));
        let outcome = limit.take("a".to_string()).await;
        assert_eq!(usize::from(outcome.is_ok()), left, "{nonsense}: {outcome:?}");
        if let Err(too_many) = outcome {
            assert!(too_many.wait <= Duration::from_secs(10_001), "{too_many:?}");
        }
    }
    assert!(link.is_up());
}
