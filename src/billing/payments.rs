//! Payments: the calls that move money, and what their answers do to payment, invoice and subscription.

mod batch;
pub(crate) mod call;
pub mod look_up;
mod resolve;
pub mod settle;

pub(crate) use batch::SettlementBatch;
pub use resolve::resolve;
