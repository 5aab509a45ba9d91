//! How the server went about each statement, as `auto_explain` reports it to the client that ran it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _};

/// Options of a connection whose plans are reported.
pub(super) const EXPLAINED: &str = "&options[session_preload_libraries]=auto_explain\
     &options[auto_explain.log_min_duration]=0&options[auto_explain.log_analyze]=on\
     &options[auto_explain.log_buffers]=on&options[auto_explain.log_timing]=off\
     &options[auto_explain.log_format]=json&options[auto_explain.log_level]=notice";

/// Tables that may be read whole: a row for each node or monitor, for each of what people make by hand, or one.
const SMALL: [&str; 10] = [
    "nodes",
    "invites",
    "settled_hours",
    "ledger_carry",
    "pin_groups",
    "network_state",
    "monitors",
    "recovery",
    "pin_log",
    "pin_log_segments",
];

/// Pages of 8 KiB that a statement may touch. Each row costs some four in an index and one in its table; the calls here ask
/// for about ten rows, and a few tables for each.
const PAGES_MAX: u64 = 600;

/// Those that read more by their nature, and why.
const PAGES_OF: [(&str, u64, &str); 4] = [
    ("remove_group", 2_500, "takes all pins out of a group, and each stands in several indexes"),
    ("earned", 2_500, "a line a day and kind since the node joined, and of each hour of the last months"),
    ("roll_up_ledger", 2_500, "so many lines are deleted"),
    ("tallies", 200_000, "so many rows are counted, and each is looked at where nobody vacuumed"),
];

/// What is known of one statement.
#[derive(Clone, Debug)]
struct Plan {
    function: String,
    sql: String,
    scans: BTreeSet<String>,
    pages: u64,
}

/// All plans so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Plans(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    function: String,
    driven: BTreeSet<String>,
    plans: Vec<Plan>,
}

impl Plans {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }

    /// From here on statements are those of this function; of none, when it is empty.
    pub(super) fn begin(&self, function: &str) {
        let mut state = self.state();
        state.function = function.to_string();
        if !function.is_empty() {
            state.driven.insert(function.to_string());
        }
    }

    /// The functions that were run.
    pub(super) fn driven(&self) -> BTreeSet<String> {
        self.state().driven.clone()
    }

    /// Hears what servers say to this thread's connections, until the guard is dropped.
    pub(super) fn listen(&self) -> DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    /// What must not be, each once, with the statement.
    pub(super) fn wrong(&self) -> Vec<String> {
        let state = self.state();
        assert!(state.plans.len() > 500, "only {} plans were heard of", state.plans.len());
        let mut wrong = BTreeMap::new();
        for plan in &state.plans {
            let pages_max = PAGES_OF
                .iter()
                .find(|(function, ..)| *function == plan.function)
                .map_or(PAGES_MAX, |(_, pages, _)| *pages);
            if !plan.scans.is_empty() {
                let what = format!("{} reads all of {:?}: {}", plan.function, plan.scans, plan.sql);
                wrong.insert((plan.function.clone(), plan.sql.clone(), 0), what);
            }
            if plan.pages > pages_max {
                let what = format!("{} touches {} pages: {}", plan.function, plan.pages, plan.sql);
                wrong.insert((plan.function.clone(), plan.sql.clone(), 1), what);
            }
        }
        wrong.into_values().collect()
    }

    fn hear(&self, notice: &str) {
        let Some(json) = notice.find('{').and_then(|at| serde_json::from_str::<Value>(&notice[at..]).ok())
        else {
            return;
        };
        let mut state = self.state();
        if state.function.is_empty() {
            return;
        }
        let mut scans = BTreeSet::new();
        find_scans(&json["Plan"], &mut scans);
        let pages = |name| json["Plan"][name].as_u64().unwrap_or(0);
        let plan = Plan {
            function: state.function.clone(),
            sql: json["Query Text"].as_str().unwrap_or_default().chars().take(300).collect(),
            scans,
            pages: pages("Shared Hit Blocks") + pages("Shared Read Blocks"),
        };
        state.plans.push(plan);
    }
}

/// Large tables that are read from end to end somewhere in a plan.
fn find_scans(node: &Value, scans: &mut BTreeSet<String>) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let table = node["Relation Name"].as_str().unwrap_or_default();
    if kind == "Seq Scan" && !SMALL.contains(&table) {
        scans.insert(table.to_string());
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        find_scans(child, scans);
    }
}

impl<S: Subscriber> Layer<S> for Plans {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            let mut message = Message::default();
            event.record(&mut message);
            self.hear(&message.0);
        }
    }
}

/// The text of an event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0 = value.to_string();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
