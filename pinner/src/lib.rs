//! The storage node: it keeps pieces, proves that it has them, and gives them to whoever holds a valid order.
//!
//! What is here never decides who may store or read; that is settled by orders before the piece store is asked.

pub mod piece_store;
