//! Months of several networks, what must not be survived, and that the checks notice what they are for.

mod checks;
mod disasters;
mod months;
mod troubles;
