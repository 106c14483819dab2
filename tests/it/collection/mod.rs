//! Stories of money: what is charged when, what a fault does to it, and that it is never taken twice.

mod caps;
pub mod chaos;
mod codes;
mod dunning;
mod early;
mod faults;
mod gateway_pauses;
mod one_connection;
mod operator;
mod orphaned_authorizations;
mod outages;
mod policies;
mod refusals;
mod refused_codes;
mod schedules;
mod unknown_outcomes;
