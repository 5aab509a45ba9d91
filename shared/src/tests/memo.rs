//! What one found out, the others see; nobody else can make them see anything.

use super::*;

#[tokio::test]
async fn there_is_nothing_without_redis() {
    let memo = memo(None);
    memo.put(vec![("a".into(), "b".into())]);
    assert!(!memo.is_shared());
    assert_eq!(memo.get(&names(&["a", "c"])).await, [None, None]);
}

#[tokio::test]
async fn others_see_what_was_put_until_its_time_is_over() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (one, other) = (linked(&server).await, linked(&server).await);
    let (one, other) = (memo(Some(&one)), memo(Some(&other)));
    // More than fit into one question.
    let many: Vec<String> = (0..1_000).map(|index| format!("name {index}")).collect();
    one.put(many.iter().map(|name| (name.clone(), name.to_uppercase())).collect());
    until(async || other.get(&many).await.iter().all(Option::is_some)).await;
    let found = other.get(&names(&["name 999", "nothing", "name 0"])).await;
    assert_eq!(found, [Some("NAME 999".to_string()), None, Some("NAME 0".to_string())]);
    let ttl = server.command("PTTL \"pinstripe:texts:name 7\"");
    let ttl: u64 = ttl.trim().trim_start_matches(':').parse().unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn values_that_this_network_did_not_put_are_not_believed() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let link = linked(&server).await;
    let stranger = linked_with(&server, config(), &[8; 32]).await;
    memo(Some(&stranger)).put(vec![("stranger".into(), "x".into())]);
    memo(Some(&link)).put(vec![("mine".into(), "x".into())]);
    until(async || memo(Some(&link)).get(&names(&["mine"])).await[0].is_some()).await;
    until(async || memo(Some(&stranger)).get(&names(&["stranger"])).await[0].is_some()).await;
    // Under another name, cut off, and simply wrong.
    server.command("COPY pinstripe:texts:mine pinstripe:texts:copied");
    server.command("COPY pinstripe:texts:mine pinstripe:texts:cut");
    server.command("SETRANGE pinstripe:texts:cut 3 y");
    server.command("SET pinstripe:texts:short abc");
    server.command("SET pinstripe:texts:plain \"\\\"x\\\"\"");
    let wrong = names(&["stranger", "copied", "cut", "short", "plain", "mine"]);
    let found = memo(Some(&link)).get(&wrong).await;
    assert_eq!(found, [None, None, None, None, None, Some("x".to_string())]);
    // Ours, but of another form, as another version would put it.
    let numbers: Memo<u64> = Memo::new(Some(link.clone()), "texts", Duration::from_mins(1));
    assert_eq!(numbers.get(&names(&["mine"])).await, [None]);
}
