//! The gateway's routes over SQLite and twenty nodes in memory.

mod accounts;
mod crowd;
mod denied;
mod files;
mod gone;
mod health;
mod memory;
mod nodes;
mod origins;
mod packing;
mod redirects;
mod refused;
mod shapes;
mod world;
