//! How far an upload has come, for whoever follows it. It is told at the ends of files and in steps between them, so seldom
//! that all of it together stays small: most clients read nothing before they have sent everything.

/// Bytes of an upload between two steps, at least, as Kubo has it.
const STEP_BYTES_MIN: u64 = 256 << 10;
/// Of what has come, the part that has to come again before the next step: a tebibyte takes some 1,500 of them.
const STEP_PART: u64 = 128;
/// Files of which the end is told in any case.
const ENDS_TOLD: usize = 1_000;

/// Hears the name of a file and how many of its bytes have come.
type Tell = Box<dyn FnMut(&str, u64) + Send + Sync>;

/// Counts the bytes of each file, and says now and then how many there are.
pub(crate) struct Progress {
    tell: Tell,
    name: String,
    file_bytes: u64,
    upload_bytes: u64,
    /// Bytes of the upload at which the next step is due.
    due_at: u64,
    files: usize,
}

impl Progress {
    /// `tell` hears the name of a file and how many of its bytes have come. It must not wait for anybody.
    pub(crate) fn new(tell: impl FnMut(&str, u64) + Send + Sync + 'static) -> Self {
        let tell = Box::new(tell);
        let due_at = STEP_BYTES_MIN;
        Self { tell, name: String::new(), file_bytes: 0, upload_bytes: 0, due_at, files: 0 }
    }

    /// The next file begins.
    pub(super) fn begin(&mut self, name: &str) {
        self.name = name.to_string();
        self.file_bytes = 0;
    }

    /// Bytes of it came.
    pub(super) fn count(&mut self, bytes: usize) {
        self.file_bytes += bytes as u64;
        self.upload_bytes += bytes as u64;
        if self.upload_bytes >= self.due_at {
            self.step();
        }
    }

    /// All of it has come.
    pub(super) fn end(&mut self) {
        self.files += 1;
        if self.files <= ENDS_TOLD {
            self.step();
        }
    }

    fn step(&mut self) {
        self.due_at = self.upload_bytes + STEP_BYTES_MIN.max(self.upload_bytes / STEP_PART);
        (self.tell)(&self.name, self.file_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn told(follow: impl FnOnce(&mut Progress)) -> Vec<(String, u64)> {
        let (tell, told) = mpsc::channel();
        let mut progress = Progress::new(move |name, bytes| tell.send((name.to_string(), bytes)).unwrap());
        follow(&mut progress);
        drop(progress);
        told.into_iter().collect()
    }

    #[test]
    fn steps_and_ends_are_told() {
        let told = told(|progress| {
            progress.begin("a");
            (0..10).for_each(|_| progress.count(100_000));
            progress.end();
            progress.begin("b");
            progress.count(3);
            progress.end();
        });
        let bytes: Vec<u64> = told.iter().map(|(_, bytes)| *bytes).collect();
        assert_eq!(bytes, [300_000, 600_000, 900_000, 1_000_000, 3]);
        assert_eq!((told[3].0.as_str(), told[4].0.as_str()), ("a", "b"));
    }

    #[test]
    fn what_is_told_of_a_large_upload_is_little() {
        let of_one = told(|progress| (0..1_u64 << 20).for_each(|_| progress.count(1 << 20)));
        assert!((100..2_000).contains(&of_one.len()), "{}", of_one.len());
        assert!(of_one.is_sorted_by(|a, b| a.1 < b.1));
        let of_many = told(|progress| {
            for _ in 0..200_000 {
                progress.begin("f");
                progress.count(1_000);
                progress.end();
            }
        });
        assert!((1_000..3_000).contains(&of_many.len()), "{}", of_many.len());
    }
}
