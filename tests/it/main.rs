//! The one integration binary: everything that is tested from outside the crate.

mod domain;
mod gateways;
