//! Lines of the log that name the trace they belong to, so that people get from one to the other.

use std::fmt::{self, Write as _};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::LogFormat;
use crate::traces::logged_trace;

/// A format of lines, with `trace_id` in those that are written for a trace that is kept.
pub(super) struct WithTrace<F> {
    pub(super) format: F,
    pub(super) kind: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace) = logged_trace() else { return self.format.format_event(context, writer, event) };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&named(&line, self.kind, &trace.to_string()))
    }
}

/// A line with the name of its trace.
fn named(line: &str, kind: LogFormat, trace: &str) -> String {
    let mut named = String::with_capacity(line.len() + 64);
    match (kind, line.strip_prefix('{')) {
        (LogFormat::Json, Some(rest)) => {
            // Writing to a text cannot fail.
            let _ = write!(named, "{{\"trace_id\":\"{trace}\",{rest}");
        }
        _ => {
            let _ = writeln!(named, "{} trace_id={trace}", line.trim_end_matches('\n'));
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_lines_name_the_trace() {
        let json = named("{\"level\":\"INFO\",\"message\":\"a {b}\"}\n", LogFormat::Json, "4bf9");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["trace_id"], &value["level"]), (&"4bf9".into(), &"INFO".into()), "{json}");
        assert!(json.ends_with("}\n"));
        assert_eq!(
            named("INFO it works node=1\n", LogFormat::Text, "4bf9"),
            "INFO it works node=1 trace_id=4bf9\n"
        );
    }
}
