//! rebilld: a recurring billing scheduler daemon.
//!
//! Read in this order: `domain` (the nouns, pure), `store` (the only SQL), `gateway` (money out), `billing` (the verbs),
//! then the doors `jobs`, `http` and `cli`; `daemon` wires them, `sandbox` is the pretend outside world.
//!
//! The law, which `tests/it/architecture.rs` checks: doors → `billing` → `store`, `gateway` → `domain`. `store` and `gateway` do not know
//! each other. Doors may read through `store`, never write. `sandbox` knows only money and ids.

pub mod billing;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod jobs;
pub mod sandbox;
pub mod store;
pub mod telemetry;
