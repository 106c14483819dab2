//! Gateway operations: what every call to a gateway has in common, whatever it is about.

pub mod lookups;
pub mod recover;
pub(crate) mod retry;
pub(crate) mod run;
