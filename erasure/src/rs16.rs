//! The code "rs16": Reed-Solomon over GF(2^16) by the crate reed-solomon-simd, run in stripes of [`UNIT`].
//!
//! That crate copies inputs into its own memory and is at its best while that memory stays in cache, hence
//! the stripes. Its results are the same for any cut at multiples of 64 bytes, which this crate's tests hold.
//! Which of its two variants it uses depends on `needed` and `total`, so a piece belongs to one scheme only.

use std::ops::Range;

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::{CodingError, Scheme, TOTAL_MAX, UNIT};

/// The crate's encoder and decoder for one scheme, each made when first used and then reused.
pub(crate) struct Rs16 {
    needed: usize,
    recovery: usize,
    encoder: Option<ReedSolomonEncoder>,
    decoder: Option<ReedSolomonDecoder>,
}

/// The present pieces by index.
type Slots<'a> = [Option<&'a [u8]>; TOTAL_MAX];

impl Rs16 {
    pub(crate) fn new(scheme: Scheme) -> Self {
        Self {
            needed: usize::from(scheme.needed()),
            recovery: usize::from(scheme.recovery()),
            encoder: None,
            decoder: None,
        }
    }

    /// Codes columns; counts and lengths have been checked.
    pub(crate) fn encode(&mut self, data: &[&[u8]], recovery: &mut [&mut [u8]]) -> Result<(), CodingError> {
        for columns in stripes(data[0].len()) {
            let encoder = ready_encoder(&mut self.encoder, self.needed, self.recovery, columns.len())?;
            for piece in data {
                encoder.add_original_shard(&piece[columns.clone()])?;
            }
            let coded = encoder.encode()?;
            for (output, piece) in recovery.iter_mut().zip(coded.recovery_iter()) {
                output[columns.clone()].copy_from_slice(piece);
            }
        }
        Ok(())
    }

    /// Rebuilds columns; counts, indices and lengths have been checked.
    pub(crate) fn rebuild(
        &mut self,
        present: &[(u8, &[u8])],
        wanted: &mut [(u8, &mut [u8])],
    ) -> Result<(), CodingError> {
        let mut slots: Slots<'_> = [None; TOTAL_MAX];
        for (piece, bytes) in present {
            slots[usize::from(*piece)] = Some(bytes);
        }
        let mut work_left = false;
        for (piece, output) in &mut *wanted {
            match slots[usize::from(*piece)] {
                Some(bytes) => output.copy_from_slice(bytes),
                None => work_left = true,
            }
        }
        if work_left {
            for columns in stripes(present[0].1.len()) {
                self.rebuild_stripe(&slots, columns, wanted)?;
            }
        }
        Ok(())
    }

    /// Rebuilds the wanted pieces that are not present: missing data by decoding, then recovery by encoding.
    fn rebuild_stripe(
        &mut self,
        slots: &Slots<'_>,
        columns: Range<usize>,
        wanted: &mut [(u8, &mut [u8])],
    ) -> Result<(), CodingError> {
        let (needed, len) = (self.needed, columns.len());
        let decoder = ready_decoder(&mut self.decoder, needed, self.recovery, len)?;
        for (index, bytes) in slots.iter().enumerate() {
            let Some(bytes) = bytes else { continue };
            match index.checked_sub(needed) {
                None => decoder.add_original_shard(index, &bytes[columns.clone()])?,
                Some(recovery) => decoder.add_recovery_shard(recovery, &bytes[columns.clone()])?,
            }
        }
        let decoded = decoder.decode()?;
        for (piece, output) in &mut *wanted {
            if let Some(bytes) = decoded.restored_original(usize::from(*piece)) {
                output[columns.clone()].copy_from_slice(bytes);
            }
        }

        let is_lost_recovery =
            |piece: u8| usize::from(piece) >= needed && slots[usize::from(piece)].is_none();
        if !wanted.iter().any(|(piece, _)| is_lost_recovery(*piece)) {
            return Ok(());
        }
        let encoder = ready_encoder(&mut self.encoder, needed, self.recovery, len)?;
        for (index, bytes) in slots[..needed].iter().enumerate() {
            let bytes =
                bytes.map(|bytes| &bytes[columns.clone()]).or_else(|| decoded.restored_original(index));
            // A data piece is present or restored; were it neither, `encode` would say that one is missing.
            if let Some(bytes) = bytes {
                encoder.add_original_shard(bytes)?;
            }
        }
        let coded = encoder.encode()?;
        for (piece, output) in wanted.iter_mut().filter(|(piece, _)| is_lost_recovery(*piece)) {
            if let Some(bytes) = coded.recovery(usize::from(*piece) - needed) {
                output[columns.clone()].copy_from_slice(bytes);
            }
        }
        Ok(())
    }
}

/// Cuts `len` bytes into runs of at most [`UNIT`].
fn stripes(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(UNIT).map(move |start| start..len.min(start + UNIT))
}

/// An encoder for stripes of `len` bytes. `reset` also forgets what a call that failed half way had added.
fn ready_encoder(
    slot: &mut Option<ReedSolomonEncoder>,
    needed: usize,
    recovery: usize,
    len: usize,
) -> Result<&mut ReedSolomonEncoder, CodingError> {
    match slot {
        Some(encoder) => {
            encoder.reset(needed, recovery, len)?;
            Ok(encoder)
        }
        empty @ None => Ok(empty.insert(ReedSolomonEncoder::new(needed, recovery, len)?)),
    }
}

/// The same for a decoder.
fn ready_decoder(
    slot: &mut Option<ReedSolomonDecoder>,
    needed: usize,
    recovery: usize,
    len: usize,
) -> Result<&mut ReedSolomonDecoder, CodingError> {
    match slot {
        Some(decoder) => {
            decoder.reset(needed, recovery, len)?;
            Ok(decoder)
        }
        empty @ None => Ok(empty.insert(ReedSolomonDecoder::new(needed, recovery, len)?)),
    }
}
