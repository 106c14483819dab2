//! The nouns of recurring billing. Pure: no async, no I/O, no clock, no randomness.

pub mod id;
pub mod money;
