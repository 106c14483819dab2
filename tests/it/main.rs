//! The one integration binary: stories and laws that need the whole crate, and both databases.
mod domain;
mod laws;
mod postgres;
mod rust_text;
mod gateways;
//! The integration tests: one binary, a folder for each part.
mod sandbox;
