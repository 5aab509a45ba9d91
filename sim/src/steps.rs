//! One step of time: whatever is due at it is done, one after another, in an order that follows from the seed.

use std::time::Duration;

use futures_util::future::try_join_all;

use crate::{
    pace,
    parts::{NodePart, run},
    world::World,
};

/// Which step it is: so long after the start, a multiple of [`pace::STEP`].
#[derive(Clone, Copy, Debug)]
pub struct Step(pub Duration);

impl Step {
    /// Whether what happens every `every` happens at this step.
    pub fn is(self, every: Duration) -> bool {
        self.0.as_secs().is_multiple_of(every.as_secs().max(1))
    }
}

impl World {
    /// Everything that the parts do by themselves.
    pub async fn step(&mut self, step: Step) -> anyhow::Result<()> {
        try_join_all(self.nodes.iter().map(|node| step_node(node, step))).await?;
        self.probe().await?;
        // Those that missed one are asked again before anything is made of it.
        self.clock.advance(pace::PROBE_RETRY);
        self.probe().await?;
        if step.is(pace::AUDIT) {
            self.remember().await?;
        }
        self.step_monitors(step).await?;
        self.note_events().await
    }

    async fn probe(&self) -> anyhow::Result<()> {
        for monitor in &self.monitors {
            run(&monitor.probe).await?;
        }
        Ok(())
    }

    /// Which monitor comes first changes from step to step.
    async fn step_monitors(&mut self, step: Step) -> anyhow::Result<()> {
        let count = self.monitors.len();
        let first = self.draw(count);
        for turn in 0..count {
            let monitor = &self.monitors[(first + turn) % count];
            run(&monitor.audit).await?;
            run(&monitor.recheck).await?;
            run(&monitor.sweep).await?;
            run(&monitor.walk).await?;
            run(&monitor.repair).await?;
            if step.is(pace::CARE) {
                run(&monitor.deliver).await?;
                run(&monitor.collect).await?;
                run(&monitor.reconcile).await?;
            }
        }
        Ok(())
    }

    /// Takes what monitors decided since the last time into the trace.
    async fn note_events(&mut self) -> anyhow::Result<()> {
        let mut events = self.db.recent_events(EVENTS_MAX).await?;
        events.retain(|event| event.at >= self.events_from);
        // Under their names, which are random, events of one moment have no order.
        let mut lines: Vec<String> = Vec::new();
        for event in &events {
            let node = event.node.and_then(|id| self.number_of(id));
            let node = node.map_or_else(String::new, |number| format!(" node {number}"));
            let segment = event.segment.map_or_else(String::new, |id| format!(" segment {id}"));
            lines.push(format!("  {} {}{node}{segment}: {}", event.at.0, event.kind, event.details));
        }
        lines.sort_unstable();
        self.events_from = self.now() + Duration::from_millis(1);
        for line in lines {
            self.say(line);
        }
        Ok(())
    }
}

/// More than ever come in one step.
const EVENTS_MAX: u32 = 3_000;

/// What a node does by itself.
async fn step_node(node: &NodePart, step: Step) -> anyhow::Result<()> {
    let Some(running) = &node.running else { return Ok(()) };
    run(&running.enrol).await?;
    run(&running.write_directory).await?;
    if step.is(pace::CARE) {
        run(&running.scrub).await?;
        run(&running.flush).await?;
        run(&running.redeem).await?;
    }
    if step.is(pace::HEARTBEAT) {
        run(&running.heartbeat).await?;
    }
    Ok(())
}
