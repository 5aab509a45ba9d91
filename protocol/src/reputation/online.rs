//! When a node was there: shares of the checks in windows of time.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::ReputationRules;
use crate::time::UnixMillis;

/// Checks in one window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    /// Which one: its start divided by the length of a window.
    number: i64,
    online: u32,
    total: u32,
}

/// How often a node was there in each window of the last weeks; bounded by the span in the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OnlineHistory {
    windows: VecDeque<Window>,
}

impl OnlineHistory {
    /// Notes checks of this moment.
    pub fn record(&mut self, online: u32, offline: u32, now: UnixMillis, rules: &ReputationRules) {
        let number = number(now, rules);
        let oldest = number.saturating_sub(rules.online_windows());
        while self.windows.front().is_some_and(|window| window.number < oldest) {
            self.windows.pop_front();
        }
        if online == 0 && offline == 0 {
            return;
        }
        // A clock that was set back adds to the newest window, so that they stay in order.
        if self.windows.back().is_none_or(|window| window.number < number) {
            self.windows.push_back(Window { number, online: 0, total: 0 });
        }
        if let Some(window) = self.windows.back_mut() {
            window.online = window.online.saturating_add(online);
            window.total = window.total.saturating_add(online).saturating_add(offline);
        }
    }

    /// The mean over the windows of the span of the share of checks at which the node was there; each window
    /// counts the same, however many checks it had. The window that is still open does not count. Windows that a
    /// young node lacks count as good ones ([`ReputationRules::online_windows_min`]). `None` when there is none but
    /// the open one.
    pub fn score(&self, now: UnixMillis, rules: &ReputationRules) -> Option<f64> {
        let current = number(now, rules);
        let span = current.saturating_sub(rules.online_windows())..current;
        let past = self.windows.iter().filter(|window| span.contains(&window.number) && window.total > 0);
        let (sum, count) = past.fold((0.0, 0_u32), |(sum, count), window| {
            (sum + f64::from(window.online) / f64::from(window.total), count + 1)
        });
        let lacking = rules.online_windows_min.saturating_sub(count);
        (count > 0).then(|| (sum + f64::from(lacking)) / f64::from(count + lacking))
    }
}

fn number(now: UnixMillis, rules: &ReputationRules) -> i64 {
    now.0.div_euclid(millis(rules.online_window))
}

/// At least 1, so that it may divide.
fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1)
}

impl ReputationRules {
    /// How many whole windows the span has.
    fn online_windows(&self) -> i64 {
        (millis(self.online_span) / millis(self.online_window)).max(1)
    }
}
