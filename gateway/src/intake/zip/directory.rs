//! The central directory of a zip archive, which says what is in it; layout and numbers are those of PKWARE's APPNOTE
//! 6.3.10, sections 4.3 to 4.5. It is read entry by entry, so its length takes no memory.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

/// Lengths and signatures of the fixed parts of records.
const END: (usize, u32) = (22, 0x0605_4b50);
const END64_LOCATOR: (usize, u32) = (20, 0x0706_4b50);
const END64: (usize, u32) = (56, 0x0606_4b50);
const ENTRY: (usize, u32) = (46, 0x0201_4b50);
const LOCAL: (usize, u32) = (30, 0x0403_4b50);

/// Longest comment at the end of an archive.
const COMMENT_MAX: u64 = u16::MAX as u64;
/// Where a length or a place stands in an attribute instead.
const ELSEWHERE: u64 = u32::MAX as u64;
/// Attributes of entries: lengths of 64 bits, and Info-ZIP's names in UTF-8.
const EXTRA_64: u16 = 0x0001;
const EXTRA_UNICODE_PATH: u16 = 0x7075;
/// Flags of entries.
const FLAG_ENCRYPTED: u16 = 1;
const FLAG_UTF8: u16 = 1 << 11;
/// Systems on which an archive was made: those of DOS, and those that keep modes as Unix does.
const DOS_SYSTEMS: [u8; 3] = [0, 10, 14];
const UNIX_SYSTEMS: [u8; 2] = [3, 19];

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ZipError {
    /// It is not as it should be.
    #[error("{0}")]
    Bad(String),
    /// It could not be read from the gateway's disk.
    #[error("the archive could not be read back: {0}")]
    Disk(#[from] io::Error),
}

/// A directory that was found.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    file: Arc<File>,
    /// Where the archive begins: programs that unpack themselves stand in front.
    begin: u64,
    /// Where its directory begins.
    at: u64,
    /// Bytes of the directory.
    bytes: u64,
    /// Entries that are announced.
    pub(super) entries: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Link,
    /// A device, a socket or a pipe.
    Special,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As it is written, but with slashes.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) encrypted: bool,
    /// 0 as it is, 8 deflated.
    pub(super) method: u16,
    pub(super) crc32: u32,
    pub(super) packed_bytes: u64,
    pub(super) bytes: u64,
    /// Where its own head is in the archive.
    at: u64,
}

/// Bytes of a file from one place to another.
struct Window {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Window {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buf[..len], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Directory {
    /// Finds the directory of an archive of so many bytes.
    pub(super) fn open(file: Arc<File>, bytes: u64) -> Result<Self, ZipError> {
        let tail_at = bytes.saturating_sub(COMMENT_MAX + END.0 as u64);
        let mut tail = vec![0; usize::try_from(bytes - tail_at).map_err(|_| no_end())?];
        file.read_exact_at(&mut tail, tail_at)?;
        // Its comment is the last thing in it.
        let is_end = |at: &usize| {
            let head = Head(&tail[*at..]);
            head.u32(0) == END.1 && usize::from(head.u16(20)) == tail.len() - at - END.0
        };
        let at = (0..(tail.len() + 1).saturating_sub(END.0)).rev().find(is_end).ok_or_else(no_end)?;
        let (end, end_at) = (Head(&tail[at..]), tail_at + at as u64);
        let one_disk = [end.u16(4), end.u16(6)].iter().all(|disk| [0, u16::MAX].contains(disk));
        let short = Self {
            file: file.clone(),
            begin: 0,
            at: u64::from(end.u32(16)),
            bytes: u64::from(end.u32(12)),
            entries: u64::from(end.u16(10)),
        };
        if !one_disk {
            return Err(bad("an archive in several parts"));
        }
        let (directory, ends_at) = match long_end(&file, end_at)? {
            Some((long, at)) => (long, at),
            None => (short, end_at),
        };
        // The directory stands right in front of its end; what is in front of the archive shifts all places in it.
        let starts_at = ends_at.checked_sub(directory.bytes);
        let begin = starts_at.and_then(|at| at.checked_sub(directory.at));
        match (starts_at, begin) {
            (Some(at), Some(begin)) => Ok(Self { begin, at, ..directory }),
            _ => Err(bad("its directory is not where its end says")),
        }
    }

    /// All entries, in their order.
    pub(super) fn entries(&self) -> Entries {
        let window = Window { file: self.file.clone(), at: self.at, end: self.at + self.bytes };
        Entries {
            input: BufReader::with_capacity(64 << 10, window),
            left: self.bytes,
            read: 0,
            due: self.entries,
        }
    }

    /// The packed bytes of an entry.
    pub(super) fn packed(&self, entry: &Entry) -> Result<impl Read + use<>, ZipError> {
        let outside = || bad(format!("{:?} is not inside the archive", entry.path));
        let head_at = self.begin.checked_add(entry.at).ok_or_else(outside)?;
        let head_end =
            head_at.checked_add(LOCAL.0 as u64).filter(|end| *end <= self.at).ok_or_else(outside)?;
        let mut head = [0; LOCAL.0];
        self.file.read_exact_at(&mut head, head_at)?;
        let head = Head(&head);
        if head.u32(0) != LOCAL.1 {
            return Err(bad(format!("{:?} is not where the directory says", entry.path)));
        }
        let at = head_end + u64::from(head.u16(26)) + u64::from(head.u16(28));
        let end = at.checked_add(entry.packed_bytes).filter(|end| *end <= self.at).ok_or_else(outside)?;
        Ok(Window { file: self.file.clone(), at, end })
    }
}

/// The end of a directory of 64 bits, and where it is, if there is one in front of the end at `end_at`.
fn long_end(file: &Arc<File>, end_at: u64) -> Result<Option<(Directory, u64)>, ZipError> {
    let Some(locator_at) = end_at.checked_sub(END64_LOCATOR.0 as u64) else { return Ok(None) };
    let mut locator = [0; END64_LOCATOR.0];
    file.read_exact_at(&mut locator, locator_at)?;
    let locator = Head(&locator);
    if locator.u32(0) != END64_LOCATOR.1 {
        return Ok(None);
    }
    // Where something stands in front of the archive the place is wrong, and it is right in front of what points at it.
    let usual = locator_at.checked_sub(END64.0 as u64);
    for at in [Some(locator.u64(8)), usual].into_iter().flatten() {
        if at.checked_add(END64.0 as u64).is_none_or(|end| end > locator_at) {
            continue;
        }
        let mut end = [0; END64.0];
        file.read_exact_at(&mut end, at)?;
        let end = Head(&end);
        if end.u32(0) == END64.1 {
            let directory = Directory {
                file: file.clone(),
                begin: 0,
                at: end.u64(48),
                bytes: end.u64(40),
                entries: end.u64(32),
            };
            return Ok(Some((directory, at)));
        }
    }
    Err(bad("the end of its directory is not where it says"))
}

/// A walk over a directory.
pub(super) struct Entries {
    input: BufReader<Window>,
    left: u64,
    read: u64,
    due: u64,
}

impl Iterator for Entries {
    type Item = Result<Entry, ZipError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            // Ends of 16 bits count only so far.
            let as_announced = self.read == self.due || self.read & 0xffff == self.due;
            let (read, due) = (self.read, self.due);
            self.due = self.read;
            return (!as_announced)
                .then(|| Err(bad(format!("its directory has {read} entries, and its end says {due}"))));
        }
        let entry = self.entry();
        self.read += 1;
        if entry.is_err() {
            (self.left, self.due) = (0, self.read);
        }
        Some(entry)
    }
}

impl Entries {
    fn entry(&mut self) -> Result<Entry, ZipError> {
        let head = self.take(ENTRY.0)?;
        let head = Head(&head);
        if head.u32(0) != ENTRY.1 {
            return Err(bad("its directory is damaged"));
        }
        let name = self.take(usize::from(head.u16(28)))?;
        let extra = self.take(usize::from(head.u16(30)))?;
        self.take(usize::from(head.u16(32)))?;
        let (system, flags) = (head.0[5], head.u16(8));
        let path = path_text(&name, &extra, flags & FLAG_UTF8 != 0)?;
        let is_dos = DOS_SYSTEMS.contains(&system);
        let path = if is_dos { path.replace('\\', "/") } else { path };
        let mut long = attribute(&extra, EXTRA_64).unwrap_or_default();
        let mut length = |short: u32| -> Result<u64, ZipError> {
            let short = u64::from(short);
            if short != ELSEWHERE {
                return Ok(short);
            }
            let (value, rest) =
                long.split_first_chunk().ok_or_else(|| bad(format!("{path:?} has no length")))?;
            long = rest;
            Ok(u64::from_le_bytes(*value))
        };
        let (bytes, packed_bytes, at) = (length(head.u32(24))?, length(head.u32(20))?, length(head.u32(42))?);
        Ok(Entry {
            kind: kind(system, head.u32(38), &path),
            path,
            encrypted: flags & FLAG_ENCRYPTED != 0,
            method: head.u16(10),
            crc32: head.u32(16),
            packed_bytes,
            bytes,
            at,
        })
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, ZipError> {
        self.left = self.left.checked_sub(len as u64).ok_or_else(|| bad("its directory is cut off"))?;
        let mut bytes = vec![0; len];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn kind(system: u8, attributes: u32, path: &str) -> Kind {
    let is_directory = path.ends_with('/');
    let mode = if UNIX_SYSTEMS.contains(&system) { attributes >> 16 & 0o170_000 } else { 0 };
    match mode {
        0o120_000 => Kind::Link,
        0o040_000 => Kind::Directory,
        _ if is_directory => Kind::Directory,
        0 | 0o100_000 => Kind::File,
        _ => Kind::Special,
    }
}

/// Names are UTF-8, whether or not a flag says so, or have one beside them.
fn path_text(name: &[u8], extra: &[u8], is_utf8: bool) -> Result<String, ZipError> {
    let unicode = attribute(extra, EXTRA_UNICODE_PATH).filter(|_| !is_utf8).and_then(|attribute| {
        // A version, then the checksum of the name that it stands for.
        let (head, path) = attribute.split_first_chunk::<5>()?;
        let mut crc = flate2::Crc::new();
        crc.update(name);
        (head[0] == 1 && head[1..] == crc.sum().to_le_bytes()).then_some(path)
    });
    let text = std::str::from_utf8(unicode.unwrap_or(name));
    text.map(str::to_string).map_err(|_| bad("a name in it is not UTF-8"))
}

/// The first attribute of a kind.
fn attribute(extra: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = extra;
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let len = usize::from(Head(head).u16(2));
        let value = tail.get(..len)?;
        if Head(head).u16(0) == wanted {
            return Some(value);
        }
        rest = &tail[len..];
    }
    None
}

/// The fixed part of a record, whose numbers are little-endian. Places are those of the format, within its length.
struct Head<'b>(&'b [u8]);

impl Head<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
}

pub(super) fn bad(text: impl Into<String>) -> ZipError {
    ZipError::Bad(text.into())
}

fn no_end() -> ZipError {
    bad("there is no directory at its end: it is no zip archive, or is cut off")
}
