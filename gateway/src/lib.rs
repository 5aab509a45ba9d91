//! The gateway: takes uploads, names them by CID and sends readers to a node near them.

pub mod geoip;
