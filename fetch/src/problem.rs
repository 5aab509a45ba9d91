//! What can be wrong with one source, in words for whoever named it. What becomes of a fetch as a whole is in
//! [`crate::error`].

use std::time::Duration;

use crate::policy::Refusal;

/// How far a request came before the time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Resolving the name and connecting.
    Connect,
    /// Waiting for the head of the answer.
    FirstByte,
    /// Waiting for the next bytes.
    Idle,
    /// Waiting for the next whole block.
    Block,
}

/// Why a source did not give what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It may not be asked.
    #[error("not allowed: {0}")]
    Refused(#[from] Refusal),
    /// Its name is unknown, or nobody accepts connections there.
    #[error("no connection")]
    NoConnection,
    /// It took too long.
    #[error("{} {}s", words(*.0), .1.as_secs_f32())]
    Late(Stage, Duration),
    /// The connection broke, or the answer is not HTTP.
    #[error("the connection broke")]
    Broken,
    /// It says that it does not have it.
    #[error("not found")]
    NotFound,
    /// It says that it has too much to do, and maybe for how long.
    #[error("too busy")]
    Busy(Option<Duration>),
    /// It answered with another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// It sends from one place to the next, or to none.
    #[error("redirects too often or to nowhere")]
    Redirect,
    /// It gave bytes that are not what the CID names.
    #[error("gave wrong bytes")]
    WrongBytes,
    /// What it gave as a CAR is none, or holds blocks that were not asked for, or ends too early.
    #[error("gave a bad car")]
    BadCar,
}

impl Problem {
    /// Whether the same request may well succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NoConnection | Self::Late(..) | Self::Broken | Self::Busy(_) => true,
            Self::Status(status) => *status >= 500 && *status != 501 && *status != 505,
            _ => false,
        }
    }

    /// Whether a source is asked for nothing any more: who lies once may lie again, and where a policy forbids to go it
    /// does so always.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::WrongBytes | Self::Refused(_))
    }

    /// For how long a source wants to be left alone.
    pub(crate) fn asks_for(&self) -> Option<Duration> {
        match self {
            Self::Busy(pause) => *pause,
            _ => None,
        }
    }
}

fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "no connection within",
        Stage::FirstByte => "no answer within",
        Stage::Idle => "sent nothing for",
        Stage::Block => "sent no whole block within",
    }
}
