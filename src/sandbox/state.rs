//! Everything that the sandbox remembers, behind one lock.

use super::{
    chaos::Chaos, faults::FaultRules, fluidpay::state::FluidpayState, ids::Ids, ledger::Ledger, paylike::state::PaylikeState,
    paysley::state::PaysleyState, scripts::Scripts,
};

/// Everything behind the one lock. Whoever holds it decides alone, so no amount can be spent twice.
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
