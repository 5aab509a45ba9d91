//! Why a fetch failed, in words for whoever asked for it: at most [`MESSAGE_MAX`] characters, and nothing of what is
//! inside this network.

use std::time::Duration;

use content::{Cid, dag_index::DagError};

use crate::{
    problem::{Problem, Stage},
    source::Sources,
};

/// Longest message, in characters.
pub const MESSAGE_MAX: usize = 200;

/// What of a message may tell about single sources, in characters.
const DETAIL_MAX: usize = 100;

/// Characters of a CID in a message: those in ordinary use have 59.
const CID_MAX: usize = 64;

/// Why the DAG could not be fetched. `E` is the error of the sink.
#[derive(Debug, thiserror::Error)]
pub enum FetchError<E: std::error::Error + 'static> {
    /// There is nobody to ask.
    #[error("nobody to fetch from{}", no_http(*.unusable))]
    NoSource {
        /// Origins that were given and have no HTTP address.
        unusable: usize,
    },
    /// All sources are at places that may not be asked.
    #[error("no source may be asked: {detail}")]
    Refused {
        /// Which sources, and what is wrong with each.
        detail: String,
    },
    /// All sources say that they do not have a block.
    #[error("not found: none of {sources} sources has {}{}", name(.cid), no_http(*.unusable))]
    NotFound {
        /// The block.
        cid: Cid,
        /// How many sources were asked.
        sources: usize,
        /// Origins that could not be asked, because they have no HTTP address.
        unusable: usize,
    },
    /// No source gave a block in time.
    #[error("no source gave {} in time: {detail}", name(.cid))]
    Timeout {
        /// The block.
        cid: Cid,
        /// How far the first of them came.
        stage: Stage,
        /// Which sources, and what is wrong with each.
        detail: String,
    },
    /// No source gave a block, for several reasons or others.
    #[error("no source gave {}: {detail}", name(.cid))]
    Unavailable {
        /// The block.
        cid: Cid,
        /// Which sources, and what is wrong with each.
        detail: String,
    },
    /// The time for all of it is over.
    #[error("not complete within {}s: {blocks} blocks came", .after.as_secs_f32())]
    Deadline {
        /// The time.
        after: Duration,
        /// Blocks that had come.
        blocks: u32,
    },
    /// There are more bytes than allowed.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// There are more blocks than allowed.
    #[error("more than {0} blocks")]
    TooManyBlocks(u32),
    /// There are more links than allowed.
    #[error("more than {0} links")]
    TooManyLinks(u32),
    /// A block is what its CID names, and not what its codec says.
    #[error("{} is malformed", name(.cid))]
    Malformed {
        /// The block.
        cid: Cid,
        /// What is wrong.
        #[source]
        source: DagError,
    },
    /// A CID under whose hash nothing can be checked here.
    #[error("{} has a hash that cannot be checked here", name(.0))]
    Unverifiable(Cid),
    /// The sink could not go on.
    #[error("the blocks could not be stored")]
    Sink(#[source] E),
}

impl<E: std::error::Error + 'static> FetchError<E> {
    /// What an index says against a block.
    pub(crate) fn of_dag(cid: &Cid, error: DagError) -> Self {
        match error {
            DagError::TooManyBlocks(max) => Self::TooManyBlocks(max),
            DagError::TooManyLinks(max) => Self::TooManyLinks(max),
            source => Self::Malformed { cid: cid.clone(), source },
        }
    }

    /// What it means that each source which was asked for `cid` had a `problem`, the place of the source with it.
    pub(crate) fn of_problems(cid: Cid, sources: &Sources, problems: &[(usize, Problem)]) -> Self {
        let unusable = sources.unusable;
        if problems.is_empty() {
            return Self::NoSource { unusable };
        }
        let all = |test: fn(&Problem) -> bool| problems.iter().all(|(_, problem)| test(problem));
        if all(|problem| *problem == Problem::NotFound) {
            return Self::NotFound { cid, sources: problems.len(), unusable };
        }
        let detail = detail(sources, problems);
        if all(|problem| matches!(problem, Problem::Refused(_))) {
            return Self::Refused { detail };
        }
        let stage = problems.iter().find_map(|(_, problem)| match problem {
            Problem::Late(stage, _) => Some(*stage),
            _ => None,
        });
        match stage {
            Some(stage) if all(|problem| matches!(problem, Problem::Late(..) | Problem::NotFound)) => {
                Self::Timeout { cid, stage, detail }
            }
            _ => Self::Unavailable { cid, detail },
        }
    }
}

/// Names sources with their problems, as far as there is room.
fn detail(sources: &Sources, problems: &[(usize, Problem)]) -> String {
    let each = problems.iter().map(|(at, problem)| format!("{} {problem}", sources.all[*at].name));
    cut(&(each.collect::<Vec<_>>().join("; ") + &no_http(sources.unusable)), DETAIL_MAX)
}

fn no_http(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" ({count} origins without an http address)") }
}

fn name(cid: &Cid) -> String {
    cut(&cid.to_string(), CID_MAX)
}

/// The first characters of a text, and a sign that there are more.
fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max - 3).chain("...".chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use content::{Cid, Codec, HashFn, dag_index::DagError};

    use super::{FetchError, MESSAGE_MAX};
    use crate::{
        policy::{OutboundPolicy, Refusal},
        problem::{Problem, Stage},
        source::Sources,
    };

    type Failure = FetchError<std::fmt::Error>;

    fn of(problems: &[Problem], unusable: usize) -> Failure {
        let cid = Cid::of(Codec::Raw, HashFn::Sha2_256, b"a");
        let hosts = (0..problems.len()).map(|i| format!("https://{i}.{}.example", "long".repeat(60)));
        let nobody = std::iter::repeat_n("/ip4/1.2.3.4/udp/1/quic-v1".to_owned(), unusable);
        let origins: Vec<_> = hosts.chain(nobody).collect();
        let policy = OutboundPolicy::new(vec![443], Vec::new(), []);
        let sources = Sources::new(&origins, 100, &[], &policy);
        let problems: Vec<_> = problems.iter().cloned().enumerate().collect();
        FetchError::of_problems(cid, &sources, &problems)
    }

    #[test]
    fn what_all_sources_say_is_what_is_said() {
        let late = Problem::Late(Stage::Idle, Duration::from_secs(30));
        let refused = Problem::Refused(Refusal::Address);
        assert!(matches!(of(&[], 2), FetchError::NoSource { unusable: 2 }));
        assert!(matches!(
            of(&[Problem::NotFound, Problem::NotFound], 1),
            FetchError::NotFound { sources: 2, unusable: 1, .. }
        ));
        assert!(matches!(of(&[refused.clone(), refused.clone()], 0), FetchError::Refused { .. }));
        let timeout = of(&[Problem::NotFound, late.clone()], 0);
        assert!(matches!(timeout, FetchError::Timeout { stage: Stage::Idle, .. }), "{timeout:?}");
        for other in [Problem::WrongBytes, Problem::Busy(None), refused] {
            let mixed = of(&[late.clone(), other], 3);
            assert!(matches!(mixed, FetchError::Unavailable { .. }), "{mixed:?}");
        }
    }

    #[test]
    fn messages_are_short() {
        let cid = Cid::identity(Codec::Other(u64::MAX >> 1), &[7; 128]).unwrap();
        let (detail, source) = (super::cut(&"ü".repeat(5000), super::DETAIL_MAX), DagError::TooManyLinks(1));
        let failures: Vec<Failure> = vec![
            of(&vec![Problem::WrongBytes; 40], 5000),
            of(&vec![Problem::NotFound; 40], 60),
            FetchError::NoSource { unusable: usize::MAX },
            FetchError::Refused { detail: detail.clone() },
            FetchError::NotFound { cid: cid.clone(), sources: usize::MAX, unusable: usize::MAX },
            FetchError::Timeout { cid: cid.clone(), stage: Stage::Connect, detail: detail.clone() },
            FetchError::Unavailable { cid: cid.clone(), detail },
            FetchError::Deadline { after: Duration::MAX, blocks: u32::MAX },
            FetchError::TooLarge(u64::MAX),
            FetchError::Malformed { cid: cid.clone(), source },
            FetchError::Unverifiable(cid),
            FetchError::Sink(std::fmt::Error),
        ];
        for failure in failures {
            let text = failure.to_string();
            assert!(text.chars().count() <= MESSAGE_MAX, "{}: {text}", text.len());
        }
    }
}
