//! Subscriptions: one file for each thing that can be done to one, and the opening of its cycles.

pub mod cancel;
pub mod change;
pub mod edit;
pub mod keep;
pub mod open_due;
pub mod pause;
pub mod reactivate;
pub mod reschedule;
pub mod resume;
pub mod retry;
pub mod skip;
pub mod subscribe;
pub mod terms;
pub mod unpark;
pub mod update;
