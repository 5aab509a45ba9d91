//! Making recovery pieces out of data pieces, row by row.

use crate::{Codec, CodingError, Kernel, Scheme, TOTAL_MAX, check, gf8::matrix, rs16::Rs16};

/// Codes rows of one scheme. Holds scratch that is reused between calls, so that coding a row allocates
/// nothing once it has coded one; keep one per thread.
pub struct Encoder {
    scheme: Scheme,
    code: Code,
}

enum Code {
    Gf8 { kernel: Kernel, coefficients: Vec<u8> },
    Rs16(Box<Rs16>),
}

impl Encoder {
    /// An encoder with the fastest kernel of this machine.
    pub fn new(scheme: Scheme) -> Self {
        Self::with_kernel(scheme, Kernel::best())
    }

    /// An encoder with the given kernel, for tests and measurements; [`Codec::Rs16`] chooses its own.
    pub fn with_kernel(scheme: Scheme, kernel: Kernel) -> Self {
        let code = match scheme.codec() {
            Codec::Gf8 => Code::Gf8 { kernel, coefficients: matrix::recovery_rows(scheme) },
            Codec::Rs16 => Code::Rs16(Box::new(Rs16::new(scheme))),
        };
        Self { scheme, code }
    }

    /// The scheme this encoder was made for.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Codes one row, or any other run of whole columns.
    ///
    /// `data`: the `needed` data pieces' bytes in these columns, already padded with zeros; `recovery`: the
    /// `total - needed` outputs, overwritten. All of one length, a multiple of [`COLUMN`](crate::COLUMN);
    /// best at [`UNIT`](crate::UNIT) or below.
    pub fn encode_row(&mut self, data: &[&[u8]], recovery: &mut [&mut [u8]]) -> Result<(), CodingError> {
        check::count("data", self.scheme.needed(), data.len())?;
        check::count("recovery", self.scheme.recovery(), recovery.len())?;
        let lengths = data.iter().map(|piece| piece.len()).chain(recovery.iter().map(|piece| piece.len()));
        check::lengths(data[0].len(), lengths.enumerate())?;
        match &mut self.code {
            Code::Gf8 { kernel, coefficients } => kernel.multiply(coefficients, data, recovery),
            Code::Rs16(code) => code.encode(data, recovery)?,
        }
        Ok(())
    }

    /// Cuts and codes a whole segment in memory and returns all `total` pieces in order. For repair and
    /// tests: an upload streams rows through [`Encoder::encode_row`] instead.
    pub fn encode(&mut self, segment: &[u8]) -> Result<Vec<Vec<u8>>, CodingError> {
        let layout = self.scheme.layout(segment.len() as u64);
        let mut pieces = vec![vec![0; memory(layout.piece_len())]; usize::from(self.scheme.total())];
        for span in layout.spans(0..layout.segment_len()) {
            let (from, to, len) = (memory(span.segment_offset), memory(span.piece_offset), memory(span.len));
            pieces[usize::from(span.piece)][to..to + len].copy_from_slice(&segment[from..from + len]);
        }
        let needed = usize::from(self.scheme.needed());
        let (data, recovery) = pieces.split_at_mut(needed);
        for row in (0..layout.rows()).filter_map(|index| layout.row(index)) {
            let columns = memory(row.piece.start)..memory(row.piece.end);
            let mut inputs: [&[u8]; TOTAL_MAX] = [&[]; TOTAL_MAX];
            for (input, piece) in inputs.iter_mut().zip(&*data) {
                *input = &piece[columns.clone()];
            }
            let mut outputs: [&mut [u8]; TOTAL_MAX] = std::array::from_fn(|_| Default::default());
            for (output, piece) in outputs.iter_mut().zip(&mut *recovery) {
                *output = &mut piece[columns.clone()];
            }
            self.encode_row(&inputs[..needed], &mut outputs[..usize::from(self.scheme.recovery())])?;
        }
        Ok(pieces)
    }
}

/// A length within a segment that is in memory, as an index.
pub(crate) fn memory(len: u64) -> usize {
    usize::try_from(len).expect("parts of a segment in memory are addressable")
}
