//! Archives of another implementation come out as they went in, and bytes that are no archive do no harm.

use std::{
    io::{Cursor, Seek, SeekFrom, Write},
    sync::Arc,
};

use proptest::{collection::vec, prelude::*};
use tokio::sync::mpsc;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    directory::{Directory, Kind, ZipError},
    unpack::{Unpacked, totals, unpack},
};

type Content = (String, Kind, Vec<u8>);

/// Everything in an archive.
fn unpacked(archive: &[u8]) -> Result<Vec<Content>, ZipError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(archive).unwrap();
    let bytes = archive.len() as u64;
    let directory = Directory::open(Arc::new(file), bytes)?;
    let totals = totals(&directory, bytes, |_| true)?;
    let (out, mut coming) = mpsc::channel(2);
    let thread = std::thread::spawn(move || unpack(&directory, |_| true, &out));
    let mut all: Vec<Content> = Vec::new();
    let mut complete = 0;
    while let Some(next) = coming.blocking_recv() {
        match next {
            Unpacked::Entry { path, kind } => all.push((path, kind, Vec::new())),
            Unpacked::Bytes(bytes) => all.last_mut().unwrap().2.extend_from_slice(&bytes),
            Unpacked::End => complete += 1,
        }
    }
    thread.join().unwrap()?;
    assert_eq!((all.len(), complete), (totals.entries, totals.entries));
    assert_eq!(all.iter().map(|(.., bytes)| bytes.len() as u64).sum::<u64>(), totals.bytes);
    Ok(all)
}

fn bad(archive: &[u8]) -> String {
    match unpacked(archive) {
        Err(ZipError::Bad(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// How an archive is made.
#[derive(Clone, Debug)]
struct Made {
    files: Vec<(String, Vec<u8>)>,
    deflated: bool,
    long: bool,
    /// Lengths stand behind the files, as for an output that cannot seek.
    streamed: bool,
    in_front: Vec<u8>,
    comment: String,
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.streamed {
            let mut zip = ZipWriter::new_stream(&mut bytes);
            self.write(&mut zip);
            zip.finish().unwrap();
            return bytes;
        }
        let mut out = Cursor::new(self.in_front.clone());
        out.seek(SeekFrom::End(0)).unwrap();
        let mut zip = ZipWriter::new(&mut out);
        self.write(&mut zip);
        zip.finish().unwrap();
        out.into_inner()
    }

    fn write(&self, zip: &mut ZipWriter<impl Write + Seek>) {
        let method = if self.deflated { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let options = SimpleFileOptions::default().compression_method(method).large_file(self.long);
        for (name, bytes) in &self.files {
            zip.start_file(name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.set_comment(self.comment.clone()).unwrap();
    }
}

fn made() -> impl Strategy<Value = Made> {
    let file = ("[a-zäö]{1,12}(/[a-z]{1,9}){0,2}", vec(any::<u8>(), 0..3_000), 0_usize..200);
    let files = vec(file, 0..6).prop_map(|files| {
        let long = |bytes: Vec<u8>, times| bytes.repeat(times);
        let named = files.into_iter().enumerate();
        named.map(|(at, (name, bytes, times))| (format!("{at}{name}"), long(bytes, times))).collect()
    });
    (files, any::<[bool; 3]>(), vec(any::<u8>(), 0..200), ".{0,20}").prop_map(
        |(files, [deflated, long, streamed], in_front, comment)| Made {
            files,
            deflated,
            long,
            streamed,
            in_front,
            comment,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn archives_come_out_as_they_went_in(made in made()) {
        let files: Vec<Content> =
            made.files.iter().map(|(name, bytes)| (name.clone(), Kind::File, bytes.clone())).collect();
        prop_assert_eq!(unpacked(&made.bytes()).unwrap(), files);
    }

    #[test]
    fn damaged_archives_are_refused_or_read_and_never_more(
        made in made(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = made.bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match unpacked(&bytes) {
            // Names have no checksum, contents have.
            Ok(all) => for (.., content) in all {
                prop_assert!(made.files.iter().any(|(_, bytes)| *bytes == content));
            },
            Err(ZipError::Bad(_)) => {}
            Err(ZipError::Disk(error)) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in vec(any::<u8>(), 0..300), at in 0_usize..300) {
        // Something that looks like an end, or there would be nothing to see.
        let mut bytes = bytes;
        let end = [0x50, 0x4b, 5, 6, 0, 0, 0, 0];
        let at = at.min(bytes.len());
        bytes.splice(at..at, end);
        let outcome = unpacked(&bytes);
        prop_assert!(!matches!(outcome, Err(ZipError::Disk(_))), "{outcome:?}");
    }
}

fn small() -> Made {
    let files = vec![("a".to_string(), vec![7; 900]), ("b".to_string(), vec![9; 900])];
    Made {
        files,
        deflated: false,
        long: false,
        streamed: false,
        in_front: Vec::new(),
        comment: String::new(),
    }
}

/// Where the directory begins, in an archive without a comment.
fn directory_at(archive: &[u8]) -> usize {
    let end = archive.len() - 22;
    u32::from_le_bytes(archive[end + 16..end + 20].try_into().unwrap()) as usize
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let archive = small().bytes();
    let (at, end) = (directory_at(&archive), archive.len() - 22);
    let directory = archive[at..end].repeat(20);
    let mut bomb = [&archive[..at], &directory, &archive[end..]].concat();
    let end = bomb.len() - 22;
    bomb[end + 10..end + 12].copy_from_slice(&40_u16.to_le_bytes());
    let length = u32::try_from(directory.len()).unwrap();
    bomb[end + 12..end + 16].copy_from_slice(&length.to_le_bytes());
    assert_eq!(bad(&bomb), "its entries overlap");
}

#[test]
fn a_directory_has_as_many_entries_as_its_end_says() {
    let mut archive = small().bytes();
    let end = archive.len() - 22;
    archive[end + 10] = 3;
    assert_eq!(bad(&archive), "its directory has 2 entries, and its end says 3");
}

#[test]
fn what_is_encrypted_or_packed_another_way_is_named() {
    let archive = small().bytes();
    let at = directory_at(&archive);
    let mut encrypted = archive.clone();
    encrypted[at + 8] |= 1;
    assert_eq!(bad(&encrypted), "\"a\" is encrypted");
    let mut packed = archive.clone();
    packed[at + 10] = 14;
    assert_eq!(bad(&packed), "\"a\" is packed with method 14, which is not known here");
    let mut parts = archive;
    let end = parts.len() - 22;
    parts[end + 4] = 1;
    assert_eq!(bad(&parts), "an archive in several parts");
}

#[test]
fn names_of_old_archives() {
    // As DOS has it, with backslashes; only where the archive says that it was made there.
    let made = Made { files: vec![("d\\a".to_string(), vec![1])], ..small() };
    let mut archive = made.bytes();
    assert_eq!(unpacked(&archive).unwrap()[0].0, "d\\a");
    let at = directory_at(&archive);
    archive[at + 5] = 0;
    assert_eq!(unpacked(&archive).unwrap()[0].0, "d/a");
    // In some other alphabet.
    archive[at + 46] = 0xe4;
    archive[at + 9] &= !8;
    assert_eq!(bad(&archive), "a name in it is not UTF-8");
}
