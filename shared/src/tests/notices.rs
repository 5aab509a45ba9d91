//! Everybody hears what one tells, and knows when it may have missed something.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Notice, Notices, notices::Listener};

fn revoked(id: &str) -> Notice {
    Notice::KeyChanged { id: id.into() }
}

async fn heard(listener: &mut Listener, notice: &Notice) {
    while listener.next().await.as_ref() != Some(notice) {}
}

#[tokio::test]
async fn this_process_hears_itself_without_redis() {
    let notices = Notices::new(None);
    notices.tell(revoked("nobody listens"));
    let mut listener = notices.listen();
    notices.clone().hear(CancellationToken::new()).await;
    notices.tell(revoked("a"));
    assert_eq!(listener.next().await, Some(revoked("a")));
}

#[tokio::test]
async fn whoever_falls_behind_is_told_so() {
    let notices = Notices::new(None);
    let mut listener = notices.listen();
    for index in 0..1_000 {
        notices.tell(revoked(&index.to_string()));
    }
    assert_eq!(listener.next().await, Some(Notice::Missed));
    assert!(matches!(listener.next().await, Some(Notice::KeyChanged { .. })));
}

#[tokio::test]
async fn all_hear_it_and_learn_of_gaps() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let stop = CancellationToken::new();
    let (link, other) = (linked(&server).await, linked(&server).await);
    let (one, other) = (Notices::new(Some(link.clone())), Notices::new(Some(other)));
    let mut listener = other.listen();
    let hearing = tokio::spawn(other.clone().hear(stop.clone()));
    assert_eq!(listener.next().await, Some(Notice::Missed), "it has subscribed");
    one.tell(Notice::DenylistChanged);
    assert_eq!(listener.next().await, Some(Notice::DenylistChanged));

    // Strangers and newer versions are not heard.
    let stranger = Notices::new(Some(linked_with(&server, config(), &[8; 32]).await));
    stranger.tell(revoked("stranger"));
    server.command("PUBLISH pinstripe:notices:all nonsense");
    one.tell(revoked("a"));
    assert_eq!(listener.next().await, Some(revoked("a")));

    // Quiet for longer than it takes to ask whether it is still there.
    until(async || server.command("INFO commandstats").contains("cmdstat_ping")).await;
    for stalled in [false, true] {
        if stalled {
            server.stall();
            // Noticed by the link when it asks something, by the subscription when it has been quiet.
            until(async || {
                one.tell(revoked("lost"));
                !link.is_up()
            })
            .await;
        }
        server.restart();
        heard(&mut listener, &Notice::Missed).await;
        // The first one may be what shows that the old connection is gone.
        while tokio::time::timeout(Duration::from_millis(20), heard(&mut listener, &revoked("b")))
            .await
            .is_err()
        {
            one.tell(revoked("b"));
        }
    }
    stop.cancel();
    hearing.await.unwrap();
}
