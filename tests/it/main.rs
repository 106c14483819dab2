//! The one integration binary: stories and laws that need the whole crate, and both databases.

mod bench;
mod billing;
mod collection;
mod daemon;
mod domain;
mod forecast;
mod gateways;
mod http;
mod import;
mod installments;
mod kill;
mod laws;
mod occurrences;
mod payment_requests;
mod postgres;
mod readme;
mod roll_out;
mod rust_text;
mod sandbox;
mod store;
mod world;
