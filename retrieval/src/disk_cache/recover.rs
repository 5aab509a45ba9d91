//! What an earlier process left in the directory becomes the state to begin with.
//!
//! Files are read newest first, so that the newer of two records of one block wins and, should the limits have
//! shrunk, it is the oldest files that go. Only heads and lists are read: a gibibyte of full files takes
//! a few milliseconds.

use std::{fs, io, path::Path, sync::Arc};

use super::{
    block_file::{self, Contents, OpenFile},
    bounds::{Bounds, Load},
    index::Place,
    record::{LINE_LEN, TRAILER_LEN},
    state::State,
};

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The blocks that are there.
    pub(super) state: State,
    /// The newest file, if there is room in it.
    pub(super) open: Option<OpenFile>,
    /// A number above all that are in use.
    pub(super) next_number: u32,
}

/// Reads the directory. Files that are no use are removed; others than the cache's are left alone.
pub(super) fn recover(dir: &Path, bounds: &Bounds) -> io::Result<Recovered> {
    let mut numbers = numbers(dir)?;
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let newest = numbers.first().copied().unwrap_or(0);
    let mut recovered = Recovered { state: State::new(bounds), open: None, next_number: newest + 1 };
    let mut closed = Load::default();
    let mut room = true;
    for number in numbers {
        if room {
            match take(dir, number, number == newest, closed, bounds, &mut recovered) {
                Ok(Taken::Closed(load)) => {
                    closed = closed.plus(load);
                    continue;
                }
                Ok(Taken::Open) => continue,
                Ok(Taken::NoRoom) => room = false,
                Ok(Taken::Useless) => {}
                Err(error) => {
                    tracing::warn!(file = number, %error, "a file of the disk cache cannot be read");
                }
            }
        }
        fs::remove_file(block_file::path(dir, number))?;
    }
    recovered.state.full = !bounds.has_room(closed, 2);
    Ok(recovered)
}

fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(block_file::number));
    }
    Ok(numbers)
}

/// What became of a file.
enum Taken {
    /// It is as full as it will be, and holds so much.
    Closed(Load),
    /// It is filled further.
    Open,
    /// It is left out, because there are enough newer ones.
    NoRoom,
    /// It is left out, because it holds nothing.
    Useless,
}

/// Takes a file in, if there is room beside the `closed` ones.
fn take(
    dir: &Path,
    number: u32,
    is_newest: bool,
    closed: Load,
    bounds: &Bounds,
    recovered: &mut Recovered,
) -> io::Result<Taken> {
    let file = fs::File::options().read(true).write(is_newest).open(block_file::path(dir, number))?;
    let file = Arc::new(file);
    let contents = block_file::contents(&file, number, bounds.records_max)?;
    let end = contents.end;
    let on_disk = Load { bytes: file.metadata()?.len(), records: contents.lines.len() };
    let resumes = is_newest && has_space(&contents, bounds);
    if contents.lines.is_empty() {
        return Ok(Taken::Useless);
    }
    // One file's worth is left for the open one, whether it is there already or not.
    if !resumes && !bounds.has_room(closed.plus(on_disk), 1) {
        return Ok(Taken::NoRoom);
    }
    let (lines, bytes, taken) = if resumes {
        let open = recovered.open.insert(OpenFile::resume(number, file.clone(), contents)?);
        (open.lines.as_slice(), open.end, Taken::Open)
    } else {
        (contents.lines.as_slice(), on_disk.bytes, Taken::Closed(on_disk))
    };
    let state = &mut recovered.state;
    state.add_file(number, file, Load { bytes, ..on_disk });
    let mut offset = end;
    // Backwards, for of two records of one block the later one counts here too.
    for line in lines.iter().rev() {
        offset -= line.record_len();
        if state.place(line.key).is_none() {
            state.put(line.key, Place { file: number, offset, len: line.len, touched: 0 });
        }
    }
    Ok(taken)
}

/// Whether a file may be filled further.
fn has_space(contents: &Contents, bounds: &Bounds) -> bool {
    let list = (contents.lines.len() * LINE_LEN + TRAILER_LEN) as u64;
    contents.lines.len() < bounds.file_records && contents.end + list < bounds.file_bytes
}
