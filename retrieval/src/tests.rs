//! Reading over nodes in memory: blocks, files, answers to HTTP requests.

mod blocks;
mod budget;
mod files;
mod http;
mod metadata;
mod trees;
mod world;
