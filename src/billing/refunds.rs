//! Refunds: money back to the method it came from, recorded before the call and looked up when the answer is lost. Never more
//! than was captured, and with what became credit never more than was paid.

mod call;
mod credit;
pub mod look_up;
mod refund;
mod resolve;
mod settle;

pub use credit::to_credit;
pub(crate) use refund::overpayment;
pub use refund::refund;
pub use resolve::resolve;
