//! Making pins as records say, and giving roots that none names to an account of their own.

use store::{FoundPin, RECOVERED_ACCOUNT};

use crate::{Recovery, Summary, Urls};

/// Pins, roots and segments in one page.
const PAGE: u32 = 500;

impl Recovery {
    /// First all that is to be there, so that nothing that it needs is let go with what is not.
    pub(crate) async fn restore_pins(
        &self,
        urls: &Urls,
        summary: &mut Summary,
        tell: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<()> {
        for gone in [false, true] {
            let mut after = String::new();
            loop {
                let page = self.db.found_pins(&after, PAGE).await?;
                for pin in page.pins.iter().filter(|pin| pin.is_gone == gone) {
                    if gone {
                        let due = self.now() + self.config.orphan_delay;
                        let removed = self.db.drop_pin(&pin.account, &pin.id, due).await?;
                        summary.pins_removed += u64::from(removed);
                    } else {
                        summary.pins_restored += u64::from(self.restore(pin, urls, summary).await?);
                    }
                }
                let Some(next) = page.next else { break };
                after = next;
                tell(&format!("pins: {} restored, {} removed", summary.pins_restored, summary.pins_removed));
            }
        }
        Ok(())
    }

    /// Gives roots that nothing leads to, and that nobody removed, to the account of what was recovered.
    pub(crate) async fn adopt_roots(
        &self,
        urls: &Urls,
        summary: &mut Summary,
        tell: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let roots = self.db.unclaimed_roots(&after, PAGE).await?;
            let Some(last) = roots.last() else { return Ok(()) };
            after.clone_from(&last.root);
            for root in &roots {
                let pin = FoundPin::adopted(root, self.now().micros());
                summary.adopted += u64::from(self.restore(&pin, urls, summary).await?);
            }
            tell(&format!("{} roots without a pin adopted", summary.adopted));
        }
    }

    /// Takes pins back that an earlier run made of what turned out to be parts of others, which have them by now.
    pub(crate) async fn end_adoptions(&self, summary: &mut Summary) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let pins = self.db.mistaken_adoptions(&after, PAGE).await?;
            let Some(last) = pins.last() else { return Ok(()) };
            after.clone_from(last);
            for pin in &pins {
                let due = self.now() + self.config.orphan_delay;
                let ended = self.db.drop_pin(RECOVERED_ACCOUNT, pin, due).await?;
                summary.adoptions_ended += u64::from(ended);
            }
        }
    }

    /// Looks once more at roots under which blocks were missing, in an earlier run too: its segments may be there by now.
    /// Whatever became of their pins since, nothing else would link them.
    pub(crate) async fn look_again(&self, urls: &Urls, summary: &mut Summary) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let roots = self.db.incomplete_roots(&after, PAGE).await?;
            let Some(last) = roots.last() else { return Ok(()) };
            after.clone_from(last);
            for root in &roots {
                let (missing, _) = self.measure(root, urls, summary).await?;
                let is_pinned = self.db.relink_root(root).await?;
                if missing > 0 && is_pinned {
                    tracing::warn!(cid = root, missing, "blocks under a pinned root are missing");
                    summary.incomplete(root);
                } else {
                    self.db.note_incomplete(root, false).await?;
                }
            }
        }
    }

    async fn restore(&self, pin: &FoundPin, urls: &Urls, summary: &mut Summary) -> anyhow::Result<bool> {
        let (missing, bytes) = self.measure(&pin.root, urls, summary).await?;
        if missing > 0 && !pin.cid()?.is_identity() {
            self.db.note_incomplete(&pin.root, true).await?;
        }
        Ok(self.db.restore_pin(pin, pin.sizes.unwrap_or((bytes, bytes)), self.now()).await?)
    }

    /// How many blocks under a root are missing, and the bytes of the others.
    async fn measure(&self, root: &str, urls: &Urls, summary: &mut Summary) -> anyhow::Result<(u64, u64)> {
        // Under blocks of segments that were known before there may be more than has been read.
        loop {
            let unread = self.db.unread_under(root, PAGE).await?;
            if unread.is_empty() {
                break;
            }
            for id in unread {
                self.read_known(id, urls, summary).await?;
            }
        }
        Ok(self.db.measure_under(root).await?)
    }
}
