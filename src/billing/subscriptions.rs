//! Subscriptions: one file for each thing that can be done to one, and the opening of its cycles.

pub mod cancel;
pub mod change;
pub mod edit;
pub mod open_due;
pub mod pause;
pub mod retry;
pub mod subscribe;
pub mod terms;
pub mod unpark;
