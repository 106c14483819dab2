//! Everything that the sandbox remembers, behind one lock.

use super::{
    chaos::Chaos, faults::FaultRules, fluidpay::state::FluidpayState, ids::Ids, ledger::Ledger, paylike::state::PaylikeState,
    paysley::state::PaysleyState, scripts::Scripts,
};

/// What the one lock protects. A call holds the lock from its checks to its changes, so no amount is spent twice.
#[derive(Default)]
pub struct State {
    pub ids: Ids,
    pub ledger: Ledger,
    pub faults: FaultRules,
    pub chaos: Option<Chaos>,
    pub scripts: Scripts,
    pub fluidpay: FluidpayState,
    pub paylike: PaylikeState,
    pub paysley: PaysleyState,
}
