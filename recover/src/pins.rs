//! Making pins as records say, and giving roots that none names to an account of their own.

use store::FoundPin;

use crate::{Recovery, Summary, Urls};

/// Pins, roots and segments in one page.
const PAGE: u32 = 500;

impl Recovery {
    pub(crate) async fn restore_pins(
        &self,
        urls: &Urls,
        summary: &mut Summary,
        tell: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let page = self.db.found_pins(&after, PAGE).await?;
            for pin in &page.pins {
                if pin.is_gone {
                    let due = self.now() + self.config.orphan_delay;
                    summary.pins_removed += u64::from(self.db.drop_pin(&pin.account, &pin.id, due).await?);
                } else {
                    summary.pins_restored += u64::from(self.restore(pin, urls, summary).await?);
                }
            }
            let Some(next) = page.next else { return Ok(()) };
            after = next;
            tell(&format!("pins: {} restored, {} removed", summary.pins_restored, summary.pins_removed));
        }
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

    async fn restore(&self, pin: &FoundPin, urls: &Urls, summary: &mut Summary) -> anyhow::Result<bool> {
        // Under blocks of segments that were known before there may be more than has been read.
        loop {
            let unread = self.db.unread_under(&pin.root, PAGE).await?;
            if unread.is_empty() {
                break;
            }
            for id in unread {
                self.read_known(id, urls, summary).await?;
            }
        }
        let (missing, bytes) = self.db.measure_under(&pin.root).await?;
        if missing > 0 && !pin.cid()?.is_identity() {
            tracing::warn!(cid = pin.root, missing, "blocks under a pinned root are missing");
            summary.incomplete(&pin.root);
        }
        Ok(self.db.restore_pin(pin, pin.sizes.unwrap_or((bytes, bytes)), self.now()).await?)
    }
}
