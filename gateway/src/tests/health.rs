//! What the health of a file says.

use protocol::{api::FileHealth, reputation::Standing};
use store::PieceSlot;
use testing::Mode;

use super::world::World;

async fn health(world: &World, cid: &str) -> FileHealth {
    serde_json::from_slice(&world.get(&format!("/v1/files/{cid}/health")).await.body).unwrap()
}

fn states(health: &FileHealth) -> Vec<&str> {
    let mut states: Vec<&str> = health.segments[0].pieces.iter().map(|piece| piece.state.as_str()).collect();
    states.sort_unstable();
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn it_falls_with_every_node_and_rises_again() {
    let world = World::new().await;
    let file = world.upload("", "x").await.file();
    super::world::until(async || health(&world, &file.cid).await.segments[0].healthy == 20).await;
    world.probe().await;
    let whole = health(&world, &file.cid).await;
    assert_eq!((whole.status.as_str(), whole.cid.as_str()), ("healthy", file.cid.as_str()));
    let segment = &whole.segments[0];
    assert_eq!((segment.needed, segment.total, segment.healthy, segment.losses_tolerated), (8, 20, 20, 12));
    assert_eq!(states(&whole), ["healthy"; 20]);
    let regions: std::collections::BTreeSet<_> =
        segment.pieces.iter().map(|piece| piece.region.clone().unwrap()).collect();
    assert_eq!(regions.len(), 3);

    for (dead, status, tolerated) in [(1, "degraded", 11), (12, "degraded", 0), (13, "lost", 0)] {
        world.network.set(0..dead, Mode::Dead);
        world.probe().await;
        let health = health(&world, &file.cid).await;
        assert_eq!(health.status, status, "{dead} dead");
        assert_eq!(usize::from(health.segments[0].healthy), 20 - dead);
        assert_eq!(health.segments[0].losses_tolerated, tolerated);
        assert_eq!(states(&health)[19], "offline");
    }
    world.network.set(0..13, Mode::Honest);
    world.probe().await;
    assert_eq!(health(&world, &file.cid).await.status, "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_suspended_and_disqualified() {
    let world = World::new().await;
    let file = world.upload("", "x").await.file();
    super::world::until(async || health(&world, &file.cid).await.segments[0].healthy == 20).await;
    let segment = &health(&world, &file.cid).await.segments[0];
    let info = world.db.segments_info(&[segment.id]).await.unwrap().remove(0);
    // One node loses its piece, one is suspended, one is out.
    let piece = info.pieces[0];
    let slot = PieceSlot { segment: segment.id, index: 0 };
    let now = world.gateway.clock.now();
    world.db.lose_pieces(piece.node.unwrap(), &[(slot, piece.hash)], now).await.unwrap();
    let judge = async |index: usize, standing: Standing| {
        let node = world.db.node(info.pieces[index].node.unwrap()).await.unwrap().unwrap();
        let mut reputation: protocol::reputation::Reputation =
            serde_json::from_str(&node.reputation).unwrap();
        reputation.standing = standing;
        let text = serde_json::to_string(&reputation).unwrap();
        assert!(world.db.set_reputation(node.id, node.revision, standing.name(), &text).await.unwrap());
    };
    let reason = protocol::reputation::SuspendReason::Offline;
    judge(1, Standing::Suspended { since: now, reason }).await;
    judge(2, Standing::Disqualified).await;
    world.gateway.nodes.refresh().await.unwrap();
    let health = health(&world, &file.cid).await;
    let state = |index: usize| health.segments[0].pieces[index].state.as_str();
    assert_eq!([state(0), state(1), state(2), state(3)], ["missing", "suspended", "missing", "healthy"]);
    assert_eq!(health.segments[0].pieces[0].node, None);
    assert_eq!((health.segments[0].healthy, health.segments[0].losses_tolerated), (17, 10));
    assert_eq!(health.status, "degraded");
}
