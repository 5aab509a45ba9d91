//! `UnixFS` against slow references, its own reader, and bytes from nowhere.

mod data;
mod directory;
mod file;
mod tree;
