//! Random faults from a seed: many faults of the kinds that production sees, and the same ones in every run with that seed.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::{
    call::{CallOperation, SandboxGateway},
    faults::Fault,
};

/// How often each fault strikes, in thousandths of the calls.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    pub drop_before: u16,
    pub drop_after: u16,
    pub delay: u16,
    pub status_429: u16,
    pub status_500: u16,
    pub status_500_after: u16,
    pub decline: u16,
}

/// What is posted to `/_sandbox/chaos`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaosSettings {
    #[serde(default)]
    pub seed: u64,
    pub rates: Rates,
    #[serde(default = "fifty")]
    pub delay_ms: u64,
    /// The code of FluidPay declines; insufficient funds when left out.
    #[serde(default = "insufficient_at_fluidpay")]
    pub fluidpay_code: u16,
    /// The code of Paylike declines; insufficient funds when left out.
    #[serde(default = "insufficient_at_paylike")]
    pub paylike_code: u16,
}

fn fifty() -> u64 {
    50
}

fn insufficient_at_fluidpay() -> u16 {
    202
}

fn insufficient_at_paylike() -> u16 {
    7
}

/// Random faults that are switched on.
#[derive(Debug)]
pub struct Chaos {
    settings: ChaosSettings,
    random: StdRng,
    struck: BTreeMap<&'static str, u64>,
}

impl Chaos {
    /// Refuses rates that add up to more than every call.
    pub fn new(settings: ChaosSettings) -> Result<Self, String> {
        let total: u32 = table(&settings, SandboxGateway::FluidPay).iter().map(|(_, rate, _)| u32::from(*rate)).sum();
        if total > 1000 {
            return Err(format!("rates add up to {total} thousandths of the calls"));
        }
        Ok(Self { random: StdRng::seed_from_u64(settings.seed), settings, struck: BTreeMap::new() })
    }

    pub fn settings(&self) -> &ChaosSettings {
        &self.settings
    }

    /// How often each fault has struck.
    pub fn struck(&self) -> &BTreeMap<&'static str, u64> {
        &self.struck
    }

    /// The fault for this call, if one strikes. Charges, authorizations and requests meet every kind of fault; captures are never
    /// declined, since they ask no card; lookups meet only lost connections and 5xx.
    pub fn strike(&mut self, gateway: SandboxGateway, operation: CallOperation) -> Option<Fault> {
        let asks_card = matches!(operation, CallOperation::Charge | CallOperation::Authorize);
        let moves_money = asks_card || matches!(operation, CallOperation::Capture | CallOperation::Request);
        if !moves_money && operation != CallOperation::Lookup {
            return None;
        }
        let mut draw: u16 = self.random.random_range(0..1000);
        for (name, rate, fault) in table(&self.settings, gateway) {
            if draw >= rate {
                draw -= rate;
                continue;
            }
            let hits = match fault {
                Fault::Decline { .. } => asks_card,
                Fault::Delay { .. } | Fault::Status { status: 429, .. } => moves_money,
                _ => true,
            };
            if !hits {
                return None;
            }
            *self.struck.entry(name).or_default() += 1;
            return Some(fault);
        }
        None
    }
}

fn table(settings: &ChaosSettings, gateway: SandboxGateway) -> [(&'static str, u16, Fault); 7] {
    let rates = &settings.rates;
    let code = if gateway == SandboxGateway::FluidPay { settings.fluidpay_code } else { settings.paylike_code };
    [
        ("drop_before", rates.drop_before, Fault::DropBefore),
        ("drop_after", rates.drop_after, Fault::DropAfter),
        ("delay", rates.delay, Fault::Delay { ms: settings.delay_ms }),
        ("status_429", rates.status_429, Fault::Status { status: 429, retry_after: Some(1) }),
        ("status_500", rates.status_500, Fault::Status { status: 500, retry_after: None }),
        ("status_500_after", rates.status_500_after, Fault::StatusAfter { status: 500 }),
        ("decline", rates.decline, Fault::Decline { code }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chaos(rates: Rates) -> Chaos {
        let settings = ChaosSettings { seed: 7, rates, delay_ms: 50, fluidpay_code: 202, paylike_code: 7 };
        Chaos::new(settings).expect("rates fit")
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let rates = Rates { drop_before: 100, drop_after: 100, decline: 300, ..Rates::default() };
        let run = || {
            let mut chaos = chaos(rates);
            (0..500).map(|_| chaos.strike(SandboxGateway::FluidPay, CallOperation::Charge)).collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(first, run());
        let declined = first.iter().filter(|fault| matches!(fault, Some(Fault::Decline { .. }))).count();
        assert!((100..200).contains(&declined), "{declined} of 500");
    }

    #[test]
    fn lookups_meet_no_declines_and_accounts_meet_nothing() {
        let mut running = chaos(Rates { decline: 500, delay: 500, ..Rates::default() });
        assert!((0..100).all(|_| running.strike(SandboxGateway::Paylike, CallOperation::Lookup).is_none()));
        let mut running = chaos(Rates { drop_after: 1000, ..Rates::default() });
        assert_eq!(running.strike(SandboxGateway::Paylike, CallOperation::Account), None);
        assert_eq!(running.strike(SandboxGateway::Paylike, CallOperation::Lookup), Some(Fault::DropAfter));
    }

    #[test]
    fn rates_beyond_every_call_are_refused() {
        let rates = Rates { drop_before: 600, drop_after: 600, ..Rates::default() };
        assert!(Chaos::new(ChaosSettings { rates, ..chaos(Rates::default()).settings }).is_err());
    }
}
