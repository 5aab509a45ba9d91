//! Months of several networks, days of one on PostgreSQL, what must not be survived, and that the checks notice what they are for.

mod checks;
mod disasters;
mod gateway_items;
mod months;
mod postgres;
mod troubles;
