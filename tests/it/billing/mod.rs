//! What operators do between two charges, with real collection going on at the sandbox: stories on both databases.

mod cards;
mod credit;
mod credit_notes;
mod disputes;
mod parked_refunds;
mod refunds;
mod stops;
mod ways_back;
