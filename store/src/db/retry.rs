//! Which failures of PostgreSQL, or of a cluster that speaks its protocol, may be answered by doing the same again. What may
//! have been committed is never done again.

use std::{io, time::Duration};

/// `serialization_failure` and `deadlock_detected`: the server undid the whole transaction for another one's sake. Clusters
/// say the first one of whatever is to be run again. From appendix A of PostgreSQL's manual, as are those below.
const GAVE_WAY: [&str; 2] = ["40001", "40P01"];

/// The server ends the connection: `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`, and all of class 08.
const GOING: [&str; 3] = ["57P01", "57P02", "57P03"];
const CONNECTION_CLASS: &str = "08";
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// `SQLITE_BUSY`, from the list of result codes of SQLite's manual.
const SQLITE_BUSY: &str = "5";

/// How far a transaction had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its commit had not been asked for.
    Open,
    /// Its commit was under way: a connection that breaks now leaves open whether it is done (also `40003`,
    /// `statement_completion_unknown`).
    Committing,
}

/// Whether what failed at this stage did certainly not happen, and may succeed now.
pub(crate) fn may_run_again(error: &sqlx::Error, stage: Stage) -> bool {
    gave_way(error) || (stage == Stage::Open && is_lost(error))
}

/// Whether the server undid the transaction for another one's sake.
pub(crate) fn gave_way(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| GAVE_WAY.contains(&code.as_str()))
}

/// Whether another process has SQLite's lock.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == SQLITE_BUSY)
}

/// Whether the connection is no more. One on which nothing came for too long was waited for long enough.
fn is_lost(error: &sqlx::Error) -> bool {
    let says_so = |code: String| GOING.contains(&code.as_str()) || code.starts_with(CONNECTION_CLASS);
    match error {
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::TimedOut,
        _ => code(error).is_some_and(says_so),
    }
}

/// Whether the server could not be reached, is going, or did not answer.
pub(crate) fn is_unreachable(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolClosed, Tls};
    is_lost(error) || matches!(error, Io(_) | PoolClosed | Tls(_))
}

/// Whether somebody else held a lock for longer than was to be waited.
pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

/// Waits a little longer before each further try, so that what was in the way can end.
pub(crate) async fn pause_before(tries: u32) {
    tracing::debug!(tries, "the database was busy with another one's work or went away; trying again");
    tokio::time::sleep(Duration::from_millis(u64::from(tries.min(10)) * 5)).await;
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, error::Error, fmt};

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    #[derive(Debug)]
    struct Coded(&'static str);

    impl fmt::Display for Coded {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Coded {}

    impl DatabaseError for Coded {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn coded(code: &'static str) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Coded(code)))
    }

    #[test]
    fn what_may_have_been_committed_is_not_run_again() {
        let cases = [
            (coded("40001"), [true, true]),
            (coded("40P01"), [true, true]),
            (coded("57P01"), [true, false]),
            (coded("57P02"), [true, false]),
            (coded("08006"), [true, false]),
            (io::Error::from(io::ErrorKind::ConnectionReset).into(), [true, false]),
            // Nobody knows whether it is done, the statement took too long, the row is there already, all are in use.
            (coded("40003"), [false, false]),
            (coded("57014"), [false, false]),
            (coded("23505"), [false, false]),
            (sqlx::Error::PoolTimedOut, [false, false]),
            (io::Error::from(io::ErrorKind::TimedOut).into(), [false, false]),
        ];
        for (error, expected) in cases {
            let found = [Stage::Open, Stage::Committing].map(|stage| may_run_again(&error, stage));
            assert_eq!(found, expected, "{error}");
        }
    }
}
