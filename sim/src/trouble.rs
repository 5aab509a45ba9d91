//! What can be wrong between two parties, and what becomes of a call because of it. Pure: what is left to chance comes in.

use std::fmt;

/// Somebody in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Somebody who uploads or reads.
    Client,
    /// A gateway by number.
    Gateway(usize),
    /// A monitor by number.
    Monitor(usize),
    /// A storage node by number.
    Node(usize),
}

/// Some parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// One of them.
    Only(Party),
    /// All gateways.
    Gateways,
    /// All monitors.
    Monitors,
    /// All nodes.
    Nodes,
}

/// Something that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Neither calls nor is reached.
    Down(Party),
    /// Calls from one side do not reach the other; the way back may be open.
    Cut {
        /// Who calls in vain.
        from: Side,
        /// Who is not reached.
        to: Side,
    },
    /// Takes connections and answers nothing but its status.
    Stalls(Party),
    /// Answers audits and reads of pieces with an error.
    Fails(Party),
    /// Loses some calls, and the answers of some others.
    Loses {
        /// Whose line it is.
        party: Party,
        /// Of a hundred calls.
        percent: u32,
    },
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    Closed,
    Stalls,
    Fails,
    LosesRequest,
    LosesAnswer,
}

impl Side {
    fn has(self, party: Party) -> bool {
        match self {
            Self::Only(only) => only == party,
            Self::Gateways => matches!(party, Party::Gateway(_)),
            Self::Monitors => matches!(party, Party::Monitor(_)),
            Self::Nodes => matches!(party, Party::Node(_)),
        }
    }
}

impl Trouble {
    /// Whether this is a trouble of this party in particular.
    pub fn touches(self, party: Party) -> bool {
        match self {
            Self::Down(other)
            | Self::Stalls(other)
            | Self::Fails(other)
            | Self::Loses { party: other, .. } => other == party,
            Self::Cut { from, to } => from == Side::Only(party) || to == Side::Only(party),
        }
    }
}

/// What becomes of a call under these troubles; the worst counts. `percent` draws a number under 100.
pub(crate) fn way<'a>(
    troubles: impl Iterator<Item = &'a Trouble>,
    from: Party,
    to: Party,
    path: &str,
    mut percent: impl FnMut() -> u32,
) -> Way {
    let mut way = Way::Open;
    for trouble in troubles {
        let this = match *trouble {
            Trouble::Down(party) if party == from || party == to => Way::Closed,
            Trouble::Cut { from: side, to: other } if side.has(from) && other.has(to) => Way::Closed,
            Trouble::Stalls(party) if party == to && path != "/v1/status" => Way::Stalls,
            Trouble::Fails(party) if party == to && is_about_pieces(path) => Way::Fails,
            Trouble::Loses { party, percent: lost } if party == from || party == to => match percent() {
                drawn if drawn < lost / 2 => Way::LosesRequest,
                drawn if drawn < lost => Way::LosesAnswer,
                _ => Way::Open,
            },
            _ => Way::Open,
        };
        if this == Way::Closed {
            return this;
        }
        if way == Way::Open {
            way = this;
        }
    }
    way
}

fn is_about_pieces(path: &str) -> bool {
    path.starts_with("/v1/audit") || path.starts_with("/v1/pieces")
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Gateway(number) => write!(f, "gateway {number}"),
            Self::Monitor(number) => write!(f, "monitor {number}"),
            Self::Node(number) => write!(f, "node {number}"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only(party) => party.fmt(f),
            Self::Gateways => f.write_str("gateways"),
            Self::Monitors => f.write_str("monitors"),
            Self::Nodes => f.write_str("nodes"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(party) => write!(f, "{party} is down"),
            Self::Cut { from, to } => write!(f, "no way from {from} to {to}"),
            Self::Stalls(party) => write!(f, "{party} stalls"),
            Self::Fails(party) => write!(f, "{party} answers with errors"),
            Self::Loses { party, percent } => write!(f, "{party} loses {percent} % of its calls"),
        }
    }
}
