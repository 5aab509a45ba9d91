//! Writing lines to standard output. Never panics when whoever read them is gone, as `println!` does.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Status of a command whose reader went away: what a shell shows for a process that SIGPIPE ended (128 + 13).
///
/// The signal itself stays ignored: with it, a server that closes the connection in the middle of an upload would end
/// this process before it can say what was wrong.
pub(crate) const READER_GONE_STATUS: u8 = 141;

/// Why a line could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Nobody reads any more, as in `pinstripe ls | head`. No failure that anybody wants to read about.
    #[error("nobody reads standard output any more")]
    ReaderGone,
    /// Anything else, such as a full disk.
    #[error("write to standard output")]
    Io(#[source] io::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::ReaderGone } else { Self::Io(error) }
    }
}

/// Writes one line.
pub(crate) fn line(text: impl Display) -> Result<(), OutputError> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Writes one line for whoever looks; a process that goes on without readers does not care whether there are any.
pub(crate) fn tell(text: impl Display) {
    let _ = line(text);
}

/// Writes one line to standard error, if anybody reads it.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
