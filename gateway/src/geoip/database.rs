//! A GeoIP database in memory: what makes bytes one, and looking places up in it. It never reads files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use protocol::region::Place;

use super::{nearest::NearestRegion, record::Record};

/// Leaves of the search tree that [`Database::check`] looks into, in the order of addresses.
const CHECKED_LEAVES: usize = 16_384;

/// Addresses of each family, spread evenly, that [`Database::check`] looks up.
const CHECKED_ADDRESSES: u32 = 4_096;

/// Why some bytes are no usable GeoIP database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The format is broken or of an unknown version.
    #[error("not a readable database: {0}")]
    Broken(#[from] MaxMindDbError),
    /// It is in order and holds something else, such as networks' owners.
    #[error("no record in it says where an address is")]
    NoPlaces,
}

/// A readable database, held in memory.
#[derive(Debug)]
pub(super) struct Database(Reader<Vec<u8>>);

impl Database {
    /// Takes a database's bytes if they are one that says where addresses are.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let database = Self(Reader::from_source(bytes)?);
        database.check()?;
        Ok(database)
    }

    /// Where the database says `ip` is. The error is a record that does not decode.
    pub(super) fn place(&self, ip: IpAddr, nearest: &NearestRegion) -> Result<Option<Place>, MaxMindDbError> {
        if ip.is_ipv6() && self.0.metadata().ip_version == 4 {
            return Ok(None);
        }
        let record = self.0.lookup(ip)?.decode::<Record<'_>>()?;
        Ok(record.and_then(|record| record.place(nearest)))
    }

    /// What the database calls itself, such as `GeoLite2-City`.
    pub(super) fn kind(&self) -> &str {
        &self.0.metadata().database_type
    }

    /// When it was built, in seconds since 1970-01-01 UTC.
    pub(super) fn built_seconds(&self) -> u64 {
        self.0.metadata().build_epoch
    }

    /// Decodes samples, so that a broken file or one of another kind does not replace a good one.
    ///
    /// A sample and not all: a city database has millions of records, and a record that is broken after all costs one
    /// reader's region. The number of steps has a bound even when the tree runs in circles, because every leaf counts,
    /// empty ones and aliases too.
    fn check(&self) -> Result<(), DatabaseError> {
        let nearest = NearestRegion::new();
        let mut places = 0_usize;
        let every_leaf = WithinOptions::default().include_networks_without_data().include_aliased_networks();
        for leaf in self.0.networks(every_leaf)?.take(CHECKED_LEAVES) {
            let record = leaf?.decode::<Record<'_>>()?;
            places += usize::from(record.and_then(|record| record.place(&nearest)).is_some());
        }
        for ip in spread_addresses() {
            places += usize::from(self.place(ip, &nearest)?.is_some());
        }
        if places == 0 { Err(DatabaseError::NoPlaces) } else { Ok(()) }
    }
}

/// Addresses at even distances over all of IPv4 and over `2000::/3`, the part of IPv6 that is given out.
fn spread_addresses() -> impl Iterator<Item = IpAddr> {
    let v4 = (0..CHECKED_ADDRESSES).map(|at| Ipv4Addr::from(at * (u32::MAX / CHECKED_ADDRESSES)).into());
    let step = (1_u128 << 125) / u128::from(CHECKED_ADDRESSES);
    let v6 = (0..CHECKED_ADDRESSES).map(move |at| Ipv6Addr::from((1 << 125) + u128::from(at) * step).into());
    v4.chain(v6)
}
