//! Test clocks: made, removed, and moved from one due instant to the next.

pub mod advance;
pub mod create;
