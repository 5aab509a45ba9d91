//! What happened, a line for each thing, and one hash over all of it: two runs with the same seed must agree.

use std::time::Duration;

/// The lines of a run.
#[derive(Default)]
pub struct Trace {
    lines: Vec<String>,
    /// Whether lines are printed as they come.
    pub print: bool,
}

impl Trace {
    /// Adds a line about something that happened so long after the start.
    pub fn add(&mut self, at: Duration, what: &str) {
        let seconds = at.as_secs();
        let (day, hour, minute, second) =
            (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let line = format!("day {day:2} {hour:02}:{minute:02}:{second:02} {what}");
        if self.print {
            println!("{line}");
        }
        self.lines.push(line);
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// BLAKE3 of all lines.
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for line in &self.lines {
            hasher.update(line.as_bytes()).update(b"\n");
        }
        hasher.finalize()
    }
}
