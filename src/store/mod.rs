//! The only SQL. `db` is the adapter over both databases; then one file per noun.
//!
//! What writes takes a [`Tx`]; what only reads takes a [`Db`]. Time is always a parameter.

pub mod api_keys;
pub mod authorizations;
pub mod calendars;
pub mod catalog;
pub mod clocks;
pub mod counters;
pub mod credit_notes;
pub mod customers;
pub mod db;
pub mod disputes;
pub mod dunning_policies;
mod encoding;
pub mod events;
pub mod gateways;
pub mod idempotency;
pub mod installments;
pub mod instances;
pub mod invariants;
pub mod invoices;
pub mod leases;
pub mod next_due;
pub mod occurrences;
pub mod page;
pub mod payment_methods;
pub mod payment_requests;
pub mod payments;
pub mod plans;
pub mod refunds;
pub mod reports;
pub mod roll_outs;
pub mod runs;
pub mod simulation_copy;
pub mod sqlite_file;
pub mod subscriptions;
pub mod sums;
pub mod tables;

pub use db::{Db, Error, Result, Tx};
