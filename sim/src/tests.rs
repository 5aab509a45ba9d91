//! Months of several networks, what must not be survived, and that the checks notice what they are for.

mod checks;
mod disasters;
mod gateway_items;
mod months;
mod recover;
mod troubles;
