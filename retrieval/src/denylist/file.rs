//! A file of rules: an optional header up to a line `---`, then a rule on each line.

use super::{
    header,
    line::{self, Line},
    rules::RuleList,
};

/// Longest header in bytes (IPIP-0383). Beyond it the file counts as one without a header.
const HEADER_MAX: usize = 1 << 20;
/// Longest line in bytes (IPIP-0383).
const LINE_MAX: usize = 2 << 20;
/// Wrong lines of one file that are told one by one.
const TOLD_MAX: usize = 10;

/// Why a file is no denylist. Single wrong lines are passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The header is no YAML, as far as it is looked at.
    #[error("line {0} of the header is no key with a value")]
    Header(usize),
    /// The header is no text.
    #[error("the header is not UTF-8")]
    HeaderText,
    /// Another version of the format.
    #[error("version {0:?} of the format is not supported")]
    Version(String),
    /// More rules than are allowed.
    #[error("more than rules_max = {0} rules in all files")]
    TooMany(usize),
}

/// What was in a file besides rules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) rules: usize,
    /// Rules about IPNS names and content types.
    pub(super) not_applied: usize,
    pub(super) wrong: usize,
    /// Number and fault of the first wrong lines.
    pub(super) first_wrong: Vec<(usize, &'static str)>,
}

/// Appends the rules of a file to those of the files before it.
pub(super) fn parse(bytes: &[u8], rules_max: usize, list: &mut RuleList) -> Result<Report, FormatError> {
    let (header, body, first_line) = split(bytes);
    let header = std::str::from_utf8(header).map_err(|_| FormatError::HeaderText)?;
    let default = header::parse(header)?;
    let mut report = Report::default();
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    for (number, bytes) in (first_line..).zip(body.split(|byte| *byte == b'\n')) {
        match read(bytes) {
            Ok(Line::Nothing) => {}
            Ok(Line::NotApplied) => report.not_applied += 1,
            Ok(Line::Rule { what, allow, denial }) => {
                if list.len() >= rules_max {
                    return Err(FormatError::TooMany(rules_max));
                }
                list.push(what, allow, denial.unwrap_or(default));
                report.rules += 1;
            }
            Err(fault) => {
                report.wrong += 1;
                if report.first_wrong.len() < TOLD_MAX {
                    report.first_wrong.push((number, fault));
                }
            }
        }
    }
    Ok(report)
}

fn read(line: &[u8]) -> Result<Line, &'static str> {
    if line.len() >= LINE_MAX {
        return Err("a line of more than 2 MiB");
    }
    line::parse(std::str::from_utf8(line).map_err(|_| "no UTF-8")?)
}

/// The header, what is behind it, and the number of the first line there.
fn split(bytes: &[u8]) -> (&[u8], &[u8], usize) {
    let front = &bytes[..bytes.len().min(HEADER_MAX)];
    let mut start = 0;
    for (line, number) in front.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let end = start + line.len();
        if line.trim_ascii_end() == b"---" {
            return (&bytes[..start], &bytes[end..], number + 1);
        }
        start = end;
    }
    (&[], bytes, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(bytes: &[u8]) -> Result<Report, FormatError> {
        parse(bytes, 3, &mut RuleList::default())
    }

    const RULE: &str = "/ipfs/QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768";

    #[test]
    fn wrong_lines_are_passed_over_and_told_with_their_numbers() {
        let text = format!("version: 1\n---\n# x\n{RULE}\r\nnonsense\n\n/ipns/a.b\n{RULE}/a*\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(b"\xff\xfe\n");
        let expected = Report {
            rules: 2,
            not_applied: 1,
            wrong: 2,
            first_wrong: vec![(5, "no rule of a known kind"), (9, "no UTF-8")],
        };
        assert_eq!(report(&bytes), Ok(expected));
        let many = report("x\n".repeat(1000).as_bytes()).unwrap();
        assert_eq!((many.wrong, many.first_wrong.len()), (1000, TOLD_MAX));
    }

    #[test]
    fn the_header_may_be_empty_or_missing() {
        let rules = |text: &str| report(text.as_bytes()).map(|report| (report.rules, report.wrong));
        assert_eq!(rules(""), Ok((0, 0)));
        assert_eq!(rules("---"), Ok((0, 0)));
        assert_eq!(rules(RULE), Ok((1, 0)), "without an end of line");
        assert_eq!(rules(&format!("---\r\n{RULE}\n")), Ok((1, 0)));
        assert_eq!(rules(&format!("name: x\n---\n{RULE}\n---\n")), Ok((1, 1)), "only the first ends it");
        assert_eq!(rules(&format!("{RULE}\n---\n")), Err(FormatError::Header(1)));
        assert_eq!(report(b"\xff: x\n---\n"), Err(FormatError::HeaderText));
        let long = format!("{}\n---\n{RULE}\n", "name: x\n".repeat(HEADER_MAX / 8));
        let long = report(long.as_bytes()).unwrap();
        assert_eq!((long.rules, long.wrong), (1, HEADER_MAX / 8 + 1), "all of it is rules");
    }

    #[test]
    fn rules_and_lines_are_bounded() {
        let rules = |count: usize| format!("{RULE}\n").repeat(count);
        assert_eq!(report(rules(3).as_bytes()).map(|report| report.rules), Ok(3));
        assert_eq!(report(rules(4).as_bytes()), Err(FormatError::TooMany(3)));
        let long = format!("{RULE}/{}\n{RULE}\n", "a".repeat(LINE_MAX));
        assert_eq!(report(long.as_bytes()).map(|report| (report.rules, report.wrong)), Ok((1, 1)));
    }
}
