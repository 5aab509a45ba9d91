//! Making of a slice from a stored piece and its outboard, checking both on the way.

use std::io;

use bao_tree::io::sync::ReadAt;
use blake3::hazmat::ChainingValue;

use super::{Asked, EncodeError, GROUP_LEN, PAIR_LEN, Subtree, hash_leaf, hash_pair, split_pair};

/// Walks the tree from the root to the groups that were asked for.
pub(super) struct Encoder<D, O, W> {
    pub(super) data: D,
    pub(super) outboard: O,
    pub(super) encoded: W,
    pub(super) asked: Asked,
    pub(super) piece_len: u64,
    /// The group at hand.
    pub(super) group: Vec<u8>,
    /// What is sent of a group of which only some chunks were asked for.
    pub(super) part: Vec<u8>,
}

impl<D: ReadAt, O: ReadAt, W: io::Write> Encoder<D, O, W> {
    /// Writes what belongs to the slice of a subtree with this hash, whose pairs in the outboard begin with
    /// number `pairs`. In post-order those of a subtree of `n` groups are `n - 1` in a row: first those of
    /// its left half, then of its right half, then its own.
    pub(super) fn subtree(
        &mut self,
        subtree: Subtree,
        pairs: u64,
        hash: &ChainingValue,
    ) -> Result<(), EncodeError> {
        if subtree.len <= GROUP_LEN {
            return self.group(subtree, hash);
        }
        let groups = subtree.len.div_ceil(GROUP_LEN);
        let mut pair = [0; PAIR_LEN];
        read_exact_at(&self.outboard, (pairs + groups - 2) * PAIR_LEN as u64, &mut pair)?;
        let (left_hash, right_hash) = split_pair(&pair);
        if hash_pair(&left_hash, &right_hash, subtree.len == self.piece_len) != *hash {
            return Err(EncodeError::Corrupt);
        }
        self.encoded.write_all(&pair).map_err(EncodeError::Write)?;
        let (left, right) = subtree.split();
        if self.asked.touches(left) {
            self.subtree(left, pairs, &left_hash)?;
        }
        if self.asked.touches(right) {
            self.subtree(right, pairs + left.len / GROUP_LEN - 1, &right_hash)?;
        }
        Ok(())
    }

    fn group(&mut self, group: Subtree, hash: &ChainingValue) -> Result<(), EncodeError> {
        let len = usize::try_from(group.len).map_err(|_| EncodeError::Corrupt)?;
        self.group.resize(len, 0);
        read_exact_at(&self.data, group.start, &mut self.group)?;
        self.part.clear();
        let is_root = group.len == self.piece_len;
        let whole = self.asked.is_leaf(group);
        let got = if whole {
            hash_leaf(group.start, &self.group, is_root)
        } else {
            encode_part(self.asked, group, &self.group, is_root, &mut self.part)
        };
        if got != *hash {
            return Err(EncodeError::Corrupt);
        }
        let sent = if whole { &self.group } else { &self.part };
        self.encoded.write_all(sent).map_err(EncodeError::Write)
    }
}

/// Appends what is sent of a part of a group, and returns its hash. What was not asked for is hashed as one,
/// which is several times as fast as chunk by chunk.
fn encode_part(
    asked: Asked,
    subtree: Subtree,
    data: &[u8],
    is_root: bool,
    out: &mut Vec<u8>,
) -> ChainingValue {
    if !asked.touches(subtree) {
        return hash_leaf(subtree.start, data, is_root);
    }
    if asked.is_leaf(subtree) {
        out.extend_from_slice(data);
        return hash_leaf(subtree.start, data, is_root);
    }
    let (left, right) = subtree.split();
    let (left_data, right_data) =
        data.split_at(data.len().min(usize::try_from(left.len).unwrap_or(usize::MAX)));
    let pair = out.len();
    out.extend_from_slice(&[0; PAIR_LEN]);
    let left = encode_part(asked, left, left_data, false, out);
    let right = encode_part(asked, right, right_data, false, out);
    out[pair..pair + 32].copy_from_slice(&left);
    out[pair + 32..pair + PAIR_LEN].copy_from_slice(&right);
    hash_pair(&left, &right, is_root)
}

fn read_exact_at(from: &impl ReadAt, at: u64, buffer: &mut [u8]) -> Result<(), EncodeError> {
    from.read_exact_at(at, buffer).map_err(|error| match error.kind() {
        // A file that ends before the piece does.
        io::ErrorKind::UnexpectedEof => EncodeError::Corrupt,
        _ => EncodeError::Read(error),
    })
}
