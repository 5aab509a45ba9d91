//! The subcommands, one file for each kind of caller.

pub(crate) mod admin;
pub(crate) mod config;
pub(crate) mod files;
pub(crate) mod nodes;
pub(crate) mod recover;
pub(crate) mod serve;
pub(crate) mod status;
