//! One file of the cache: appended to until it is full, then read until it is dropped whole.
//!
//! Nothing is ever synced: what a power cut takes is missed and fetched again, and what it garbles does not
//! match its CID. Records are written bytes first and head last, so a process that is killed leaves whole
//! records and a tail that is recognised as none. All reads and writes are positioned; nobody moves a cursor.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    index::Place,
    record::{self, HEAD_LEN, LINE_LEN, Line, TRAILER_LEN},
};

/// Highest number of a file. Another one a second would take 68 years to get there.
pub(super) const NUMBER_MAX: u32 = u32::MAX / 2;

/// Records of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// What they are, in the order of the file and without gaps from its first byte.
    pub(super) lines: Vec<Line>,
    /// Where they end.
    pub(super) end: u64,
}

/// Path of file `number`.
pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08x}.blocks"))
}

/// The number in a file's name; `None` if the name is not one that [`path`] gives.
pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".blocks").filter(|digits| digits.len() == 8)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (number > 0 && number <= NUMBER_MAX && format!("{number:08x}") == digits).then_some(number)
}

/// Reads what file `number` holds, at most `records_max` records: from its list, or by scanning if it has none.
pub(super) fn contents(file: &File, number: u32, records_max: usize) -> io::Result<Contents> {
    let file_len = file.metadata()?.len();
    match from_list(file, number, file_len, records_max)? {
        Some(contents) => Ok(contents),
        None => scan(file, number, file_len, records_max),
    }
}

fn from_list(file: &File, number: u32, file_len: u64, records_max: usize) -> io::Result<Option<Contents>> {
    let Some(trailer_at) = file_len.checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
    let mut trailer = [0; TRAILER_LEN];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let Some(trailer) = record::parse_trailer(file_len, &trailer, records_max) else { return Ok(None) };
    let mut list = vec![0; trailer.count * LINE_LEN];
    file.read_exact_at(&mut list, trailer.list_at)?;
    let lines = record::parse_list(number, &trailer, &list);
    Ok(lines.map(|lines| Contents { lines, end: trailer.list_at }))
}

/// Goes from head to head until one is missing, damaged, or announces more than is there.
fn scan(file: &File, number: u32, file_len: u64, records_max: usize) -> io::Result<Contents> {
    let mut contents = Contents { lines: Vec::new(), end: 0 };
    while contents.lines.len() < records_max && file_len - contents.end >= HEAD_LEN as u64 {
        let mut head = [0; HEAD_LEN];
        file.read_exact_at(&mut head, contents.end)?;
        let Some(line) = record::parse_head(number, contents.end, &head) else { break };
        if line.record_len() > file_len - contents.end {
            break;
        }
        contents.lines.push(line);
        contents.end += line.record_len();
    }
    Ok(contents)
}

/// Reads the bytes of a block, unchecked.
pub(super) fn read(file: &File, place: Place) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; place.len as usize];
    file.read_exact_at(&mut bytes, place.offset + HEAD_LEN as u64)?;
    Ok(bytes)
}

/// The file that is being filled.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// Its number.
    pub(super) number: u32,
    /// The file itself.
    pub(super) file: Arc<File>,
    /// Where its records end.
    pub(super) end: u64,
    /// Its records.
    pub(super) lines: Vec<Line>,
}

impl OpenFile {
    /// Creates file `number`, which must not exist.
    pub(super) fn create(dir: &Path, number: u32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path(dir, number))?;
        Ok(Self { number, file: Arc::new(file), end: 0, lines: Vec::new() })
    }

    /// Goes on filling a file, from where its records end.
    pub(super) fn resume(number: u32, file: Arc<File>, contents: Contents) -> io::Result<Self> {
        let open = Self { number, file, end: contents.end, lines: contents.lines };
        open.cut()?;
        Ok(open)
    }

    /// Appends a block; returns where its record begins. After an error the file is as before, see [`OpenFile::cut`].
    pub(super) fn append(&mut self, disk: &Disk, line: Line, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.end;
        disk.write_all_at(&self.file, bytes, offset + HEAD_LEN as u64)?;
        disk.write_all_at(&self.file, &record::head(self.number, offset, line), offset)?;
        self.end += line.record_len();
        self.lines.push(line);
        Ok(offset)
    }

    /// Writes the list; returns the file's length. Without it the file is as good, but slower to open.
    pub(super) fn finish(&self, disk: &Disk) -> io::Result<u64> {
        let list = record::list(self.number, &self.lines);
        disk.write_all_at(&self.file, &list, self.end)?;
        Ok(self.end + list.len() as u64)
    }

    /// Cuts off what follows the last record: the rest of a write that failed, or a list.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.end)
    }
}

/// The way to the disk. In tests it can be given little room.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) room: Option<Arc<std::sync::atomic::AtomicU64>>,
}

impl Disk {
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests limit the disk through it")]
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    #[cfg(test)]
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::sync::atomic::Ordering;

        let Some(room) = &self.room else { return file.write_all_at(bytes, offset) };
        let room_before = room.load(Ordering::SeqCst);
        let written = room_before.min(bytes.len() as u64);
        room.store(room_before - written, Ordering::SeqCst);
        let written = usize::try_from(written).unwrap();
        file.write_all_at(&bytes[..written], offset)?;
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}
