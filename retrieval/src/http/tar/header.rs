//! Headers of TAR entries: ustar (POSIX.1-1988), with a pax header (POSIX.1-2001) before what does not fit.

/// Everything in an archive is a multiple of this.
pub(super) const BLOCK: usize = 512;
/// What ends an archive.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Longest name and target of a link in a ustar header.
const NAME_MAX: usize = 100;
/// Largest file in a ustar header: eleven octal digits.
const SIZE_MAX: u64 = (1 << 33) - 1;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind<'a> {
    File { size: u64 },
    Directory,
    Symlink { target: &'a str },
}

/// The header of an entry. Its path is relative and has no `..` in it.
pub(super) fn header(path: &str, kind: EntryKind<'_>, mode: Option<u32>, mtime_secs: u64) -> Vec<u8> {
    let fits = |text: &str| text.len() <= NAME_MAX && text.is_ascii();
    let (type_flag, size, target, usual_mode) = match kind {
        EntryKind::File { size } => (b'0', size, "", 0o644),
        EntryKind::Directory => (b'5', 0, "", 0o755),
        EntryKind::Symlink { target } => (b'2', 0, target, 0o777),
    };
    let mut records = Vec::new();
    if !fits(path) {
        record(&mut records, "path", path);
    }
    if !fits(target) {
        record(&mut records, "linkpath", target);
    }
    if size > SIZE_MAX {
        record(&mut records, "size", &size.to_string());
    }
    let mut out = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        out.extend(ustar("././@PaxHeader", b'x', records.len() as u64, "", 0o644, 0));
        let padding = padding(records.len() as u64);
        out.append(&mut records);
        out.resize(out.len() + padding, 0);
    }
    let mode = mode.map_or(usual_mode, |mode| mode & 0o7777);
    let size = if size > SIZE_MAX { 0 } else { size };
    out.extend(ustar(path, type_flag, size, target, mode, mtime_secs.min(SIZE_MAX)));
    out
}

/// Zeros after so many bytes.
pub(super) fn padding(len: u64) -> usize {
    let over = usize::try_from(len % BLOCK as u64).unwrap_or_default();
    (BLOCK - over) % BLOCK
}

/// A pax record: its own length in decimal, a blank, key, `=`, value, newline.
fn record(out: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(format!("{len} {key}={value}\n").as_bytes());
}

fn ustar(path: &str, type_flag: u8, size: u64, target: &str, mode: u32, mtime_secs: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, len: usize, bytes: &[u8]| {
        let len = len.min(bytes.len());
        header[at..at + len].copy_from_slice(&bytes[..len]);
    };
    put(0, NAME_MAX, shortened(path).as_bytes());
    put(100, 8, format!("{mode:07o}\0").as_bytes());
    put(108, 8, b"0000000\0");
    put(116, 8, b"0000000\0");
    put(124, 12, format!("{size:011o}\0").as_bytes());
    put(136, 12, format!("{mtime_secs:011o}\0").as_bytes());
    // While the sum is formed it counts as blanks.
    put(148, 8, b"        ");
    put(156, 1, &[type_flag]);
    put(157, NAME_MAX, shortened(target).as_bytes());
    put(257, 8, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// What readers see that do not know pax.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for len in 0..1200 {
            let mut out = Vec::new();
            record(&mut out, "path", &"x".repeat(len));
            let text = String::from_utf8(out).unwrap();
            let (said, _) = text.split_once(' ').unwrap();
            assert_eq!(said.parse(), Ok(text.len()));
        }
    }

    #[test]
    fn long_names_and_sizes_have_a_header_of_their_own() {
        assert_eq!(header("short", EntryKind::Directory, None, 0).len(), BLOCK);
        for (path, size) in [("ü", 1), (&*"x".repeat(101), 1), ("x", 1 << 33)] {
            assert_eq!(header(path, EntryKind::File { size }, None, 0).len(), 3 * BLOCK, "{path}");
        }
    }
}
