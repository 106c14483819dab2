//! The pretend outside world: a real HTTP server with the seed gateways' wire formats, fault switches and its own ledger.
//!
//! FluidPay lives under `/api`, Paysley under `/v2`, Paylike at the root, where Paysley answers too, the switches under `/_sandbox`.
//! Everything is kept in memory. A call travels one way: `call` reads it, `faults` and `chaos` decide what goes wrong, one gateway's
//! module answers under the one lock, `server` writes the answer or closes the connection.

mod admin;
mod body;
mod call;
mod callbacks;
mod chaos;
mod faults;
mod fixtures;
mod fluidpay;
mod handle;
mod ids;
mod latency;
mod ledger;
mod paylike;
mod paysley;
mod process;
mod reply;
mod router;
mod scripts;
mod server;
mod state;

pub use call::SandboxGateway;
pub use faults::{Fault, Rule};
pub use fixtures::{FLUIDPAY_KEY, PAYLIKE_KEY, PAYLIKE_MERCHANT, PAYSLEY_KEY};
pub use handle::{Now, Options, Sandbox};
pub use latency::Latency;
pub use ledger::{LedgerEntry, Movement, Summary};
pub use paysley::{AskedPayment, Pay};
pub use router::{answer, router};
pub use scripts::{Anyone, Script};
pub use server::{SandboxServer, serve, start};
