//! Rebuilding missing pieces, or some columns of them, from any `needed` others.

use crate::{
    Codec, CodingError, Kernel, NEEDED_MAX, Scheme, TOTAL_MAX, check, encode::memory, gf8::matrix, rs16::Rs16,
};

/// Rebuilds columns of one scheme. Holds scratch that is reused between calls, and remembers the last set of
/// present and wanted pieces, so that a reader who goes row by row inverts a matrix once. Keep one per
/// reader.
pub struct Decoder {
    scheme: Scheme,
    code: Code,
}

enum Code {
    Gf8 { kernel: Kernel, plan: matrix::Plan },
    Rs16(Box<Rs16>),
}

impl Decoder {
    /// A decoder with the fastest kernel of this machine.
    pub fn new(scheme: Scheme) -> Self {
        Self::with_kernel(scheme, Kernel::best())
    }

    /// A decoder with the given kernel, for tests and measurements; [`Codec::Rs16`] chooses its own.
    pub fn with_kernel(scheme: Scheme, kernel: Kernel) -> Self {
        let code = match scheme.codec() {
            Codec::Gf8 => Code::Gf8 { kernel, plan: matrix::Plan::new(scheme.needed()) },
            Codec::Rs16 => Code::Rs16(Box::new(Rs16::new(scheme))),
        };
        Self { scheme, code }
    }

    /// The scheme this decoder was made for.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Rebuilds one run of columns.
    ///
    /// `present`: exactly `needed` distinct pieces as (index, bytes), in any order; `wanted`: distinct
    /// pieces, data or recovery, as (index, output), overwritten; one that is present is copied. All of one
    /// length, a multiple of [`COLUMN`](crate::COLUMN), and all the same columns of their pieces, starting at
    /// a multiple of [`COLUMN`](crate::COLUMN). Both codes work column by column, so a run may cross rows;
    /// runs of [`UNIT`](crate::UNIT) bytes and below are the fastest.
    ///
    /// The time grows with the number of wanted pieces ([`Codec::Gf8`]) or hardly depends on it
    /// ([`Codec::Rs16`], where wanted recovery pieces cost an encoding on top). Wrong bytes in give wrong
    /// bytes out.
    pub fn rebuild(
        &mut self,
        present: &[(u8, &[u8])],
        wanted: &mut [(u8, &mut [u8])],
    ) -> Result<(), CodingError> {
        check::count("present", self.scheme.needed(), present.len())?;
        check::indices(self.scheme, present.iter().map(|(piece, _)| *piece))?;
        check::indices(self.scheme, wanted.iter().map(|(piece, _)| *piece))?;
        let lengths = present.iter().map(|(piece, bytes)| (usize::from(*piece), bytes.len()));
        let wanted_lengths = wanted.iter().map(|(piece, bytes)| (usize::from(*piece), bytes.len()));
        check::lengths(present[0].1.len(), lengths.chain(wanted_lengths))?;

        match &mut self.code {
            Code::Gf8 { kernel, plan } => {
                let (needed, count) = (present.len(), wanted.len());
                let coefficients = plan.coefficients(
                    present.iter().map(|(piece, _)| *piece),
                    wanted.iter().map(|(piece, _)| *piece),
                );
                let mut inputs: [&[u8]; NEEDED_MAX] = [&[]; NEEDED_MAX];
                for (input, (_, bytes)) in inputs.iter_mut().zip(present) {
                    *input = bytes;
                }
                let mut outputs: [&mut [u8]; TOTAL_MAX] = std::array::from_fn(|_| Default::default());
                for (output, (_, bytes)) in outputs.iter_mut().zip(&mut *wanted) {
                    *output = bytes;
                }
                kernel.multiply(coefficients, &inputs[..needed], &mut outputs[..count]);
            }
            Code::Rs16(code) => code.rebuild(present, wanted)?,
        }
        Ok(())
    }

    /// Rebuilds a whole segment of `segment_len` bytes in memory from exactly `needed` whole pieces. For
    /// repair and tests: a reader rebuilds rows through [`Decoder::rebuild`] instead.
    pub fn decode(&mut self, segment_len: u64, present: &[(u8, &[u8])]) -> Result<Vec<u8>, CodingError> {
        let layout = self.scheme.layout(segment_len);
        // Checked before anything of this length is allocated.
        for (piece, bytes) in present {
            if bytes.len() as u64 != layout.piece_len() {
                let expected = usize::try_from(layout.piece_len()).unwrap_or(usize::MAX);
                return Err(CodingError::Length { piece: usize::from(*piece), expected, found: bytes.len() });
            }
        }
        check::count("present", self.scheme.needed(), present.len())?;
        let mut rebuilt = vec![vec![0; memory(layout.piece_len())]; present.len()];
        let mut wanted: Vec<_> =
            (0_u8..).zip(&mut rebuilt).map(|(piece, bytes)| (piece, bytes.as_mut_slice())).collect();
        self.rebuild(present, &mut wanted)?;
        let mut segment = Vec::with_capacity(memory(segment_len));
        for span in layout.spans(0..segment_len) {
            let start = memory(span.piece_offset);
            segment.extend_from_slice(&rebuilt[usize::from(span.piece)][start..start + memory(span.len)]);
        }
        Ok(segment)
    }
}
