//! The gateway's routes over SQLite and twenty nodes in memory.

mod accounts;
mod archives;
mod cars;
mod crowd;
mod denied;
mod files;
mod fuzz;
mod gone;
mod health;
mod kubo;
mod limits;
mod long;
mod memory;
mod nodes;
mod openapi;
mod origins;
mod packing;
mod pages;
mod pinata;
mod psa;
mod redirects;
mod refused;
mod shapes;
mod tus;
mod world;
mod zips;
