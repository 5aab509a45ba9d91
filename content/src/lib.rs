//! Content addressing: CIDs, blocks, UnixFS, CAR.
