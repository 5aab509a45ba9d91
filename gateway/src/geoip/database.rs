//! A GeoIP database in memory, and the file it is read from.
//!
//! The file is read whole instead of mapped: overwriting a mapped file in place changes, or kills, the process that maps it.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

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

/// Why a file was not taken as the database.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no file.
    #[error("geoip database {0} is missing")]
    Missing(PathBuf),
    /// The file, or what bears its name, cannot be read.
    #[error("geoip database {path} cannot be read: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is larger than the configuration allows.
    #[error("geoip database {path} has {size_bytes} bytes, more than geoip.bytes_max = {bytes_max}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The file holds no usable database.
    #[error("geoip database {path}: {cause}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: DatabaseError,
    },
}

/// What stood at the database's path when it was looked at; equal when nothing has changed since.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nobody has looked yet.
    Nothing,
    /// No file, or none that can be read.
    Unavailable(io::ErrorKind),
    /// A file of this identity.
    File(Fingerprint),
}

/// What tells one file, or one content of it, from the next. The change time is there because copying tools set the
/// modification time back to that of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A readable database, held in memory.
#[derive(Debug)]
pub(super) struct Database(Reader<Vec<u8>>);

impl Seen {
    /// What stands at `path` now.
    pub(super) fn at(path: &Path) -> Self {
        // A link is followed: what it points to is what would be read.
        match fs::metadata(path) {
            Ok(metadata) => Self::File(Fingerprint::of(&metadata)),
            Err(error) => Self::Unavailable(error.kind()),
        }
    }
}

impl LoadError {
    /// What to remember after this error, when `now` stood at the path: a bad file until it changes, and a failure to
    /// read without the file, so that the same file is tried again.
    pub(super) fn seen(&self, now: Seen) -> Seen {
        match self {
            Self::Missing(_) => Seen::Unavailable(io::ErrorKind::NotFound),
            Self::Unreadable { cause, .. } => Seen::Unavailable(cause.kind()),
            Self::TooLarge { .. } | Self::Unusable { .. } => now,
        }
    }
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads and checks the database at `path`, of at most `bytes_max` bytes, and says which file it was.
///
/// `None` when the file changed under the reader: what was read may be half of two versions.
pub(super) fn load(path: &Path, bytes_max: u64) -> Result<Option<(Fingerprint, Database)>, LoadError> {
    let unreadable = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => LoadError::Missing(path.to_owned()),
        _ => LoadError::Unreadable { path: path.to_owned(), cause },
    };
    // Asked before opening, as opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    let fingerprint = |file: &File| file.metadata().map(|metadata| Fingerprint::of(&metadata));
    let before = fingerprint(&file).map_err(unreadable)?;
    if before.size_bytes > bytes_max {
        let size_bytes = before.size_bytes;
        return Err(LoadError::TooLarge { path: path.to_owned(), size_bytes, bytes_max });
    }
    let bytes = read_exactly(&file, before.size_bytes).map_err(unreadable)?;
    match bytes {
        Some(bytes) if fingerprint(&file).map_err(unreadable)? == before => {
            let unusable = |cause| LoadError::Unusable { path: path.to_owned(), cause };
            Ok(Some((before, Database::from_bytes(bytes).map_err(unusable)?)))
        }
        _ => Ok(None),
    }
}

/// The whole file, or `None` when it no longer has the size that was seen.
pub(super) fn read_exactly(file: &File, size_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let len = usize::try_from(size_bytes).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    // Room for one byte more, so that reading finds the end without growing.
    bytes.try_reserve_exact(len.saturating_add(1))?;
    file.take(size_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() == len).then_some(bytes))
}

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
