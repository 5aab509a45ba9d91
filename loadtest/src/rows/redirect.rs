//! How many readers a second the gateway sends to nodes.

use crate::{
    cpu::Cpu,
    load::drive,
    pattern::Pattern,
    rows::{Bench, ratio},
    table::{Row, Runs},
    wire::get,
};

const CONNECTIONS: usize = 16;

pub(super) async fn redirects(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let cid = bench.network.files.upload(Pattern::new(1 << 10)).await?;
    let plan = bench.sizes.plan(CONNECTIONS);
    let (mut rates, mut plain, mut cpu, mut requests) = (Runs::default(), Runs::default(), Cpu::default(), 0);
    for _ in 0..bench.sizes.runs {
        let request = get("/redirect", "");
        plain.push(drive(plan, bench.server.address, 307, move |_| request.clone()).await?.per_second());
        let before = Cpu::now(&bench.network);
        let request = get(&format!("/ipfs/{cid}?route=redirect"), "");
        let rate = drive(plan, bench.network.gateway, 307, move |_| request.clone()).await?;
        cpu = cpu.plus(Cpu::now(&bench.network).since(before));
        requests += rate.requests;
        rates.push(rate.per_second());
    }
    Ok(vec![Row {
        name: format!("redirects, {CONNECTIONS} connections"),
        measured: rates.show("a second"),
        baseline: format!("plain axum, empty 307 {}", plain.show("a second")),
        ratio: ratio(rates.median(), plain.median()),
        budget: "40,000/s (moonshot 70,000)".into(),
        cpu: cpu.per_request(requests),
    }])
}
