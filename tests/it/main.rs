//! The one integration binary, so that this crate and the tests are linked once: stories, architecture rules, both databases, the simulation.

#![allow(clippy::too_many_lines, reason = "a story and a table of cases are read from top to bottom")]

mod architecture;
mod bench;
mod billing;
mod collection;
mod daemon;
mod database;
mod domain;
mod forecast;
mod gateways;
mod http;
mod import;
mod installments;
mod kill;
mod occurrences;
mod payment_requests;
mod postgres;
mod readme;
mod roll_out;
mod rust_text;
mod sandbox;
#[path = "../simulation/mod.rs"]
mod simulation;
mod store;
mod stories;
mod world;
