//! `UnixFS` against slow references, its own reader, and bytes from nowhere.

mod damage;
mod data;
mod directory;
mod file;
mod file_state;
mod tree;
