//! Coding, spreading and gathering over nodes in memory.

mod code;
mod fixture;
mod gather;
mod peers;
mod pool;
mod spread;
