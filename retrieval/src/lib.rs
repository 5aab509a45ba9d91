//! Reading by CID, the same on gateways and on nodes: find blocks, fetch what is not at hand, verify, cache, follow
//! paths, stream files, answer HTTP. It never sends a byte that was not checked against the CID that names it, nor one
//! that a denylist denies.

mod blocks;
mod denylist;
mod disk_cache;
mod error;
mod file_stream;
mod http;
mod locate;
mod resolve;

pub use blocks::{Blocks, BlocksConfig};
pub use denylist::{Denial, Denylist, DenylistConfig, DenylistError, DenylistReload, FormatError};
pub use disk_cache::{DiskCache, DiskCacheConfig, DiskCacheStats};
pub use error::ReadError;
pub use file_stream::stream_file;
pub use http::{
    ActiveContent, AnswerRules, ContentRequest, Mount, RequestError, add_cors, denied, host_name, html_text,
    is_cached, is_only_if_cached, not_cached, refusal, respond, stream_body, stream_car, stream_tar,
    too_many_requests,
};
pub use locate::{Found, LocateError, LocateFuture, Locator};
pub use resolve::{Resolved, Way, resolve, resolve_data};

#[cfg(test)]
mod tests;
