//! Collection: due invoices are claimed, what happens to each is decided, and payments are recorded before any gateway is called.

pub mod allowance;
mod authorized;
pub mod claim;
pub(crate) mod execute;
pub mod fallback_method;
pub mod run;
mod step;
