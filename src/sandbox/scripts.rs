//! Decline scripts: how a token's next attempts end, so that a demo can show a card that fails and recovers.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Deserialize;

/// What is posted to `/_sandbox/tokens/{token}/script`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// One code for each coming attempt: a decline code, or 0 to approve. After them the token behaves as before.
    pub declines: VecDeque<u16>,
    /// After `declines`, this many thousandths of the attempts are declined.
    pub decline_per_mille: u16,
    /// Codes of the random declines; if empty, the gateway's "insufficient funds".
    pub codes: Vec<u16>,
    pub seed: u64,
}

#[derive(Debug)]
struct ActiveScript {
    script: Script,
    attempts: u64,
}

/// For a simulation: every token counts as known, and its attempts are declined at random, whatever the amount or card.
#[derive(Debug, Clone, Copy)]
pub struct Anyone {
    /// Thousandths of all attempts.
    pub decline_per_mille: u16,
    pub seed: u64,
}

/// Scripts by token: a FluidPay customer id, or the id of an earlier Paylike transaction.
#[derive(Debug, Default)]
pub struct Scripts {
    by_token: HashMap<String, ActiveScript>,
    anyone: Option<Anyone>,
    /// How often a token without a script was charged an amount.
    attempts: HashMap<(String, i64), u64>,
}

impl Scripts {
    pub fn let_in(&mut self, anyone: Option<Anyone>) {
        self.anyone = anyone;
    }

    /// Whether every token counts as known.
    pub fn knows_anyone(&self) -> bool {
        self.anyone.is_some()
    }

    pub fn set(&mut self, token: String, script: Script) {
        self.by_token.insert(token, ActiveScript { script, attempts: 0 });
    }

    pub fn remove(&mut self, token: &str) -> bool {
        self.by_token.remove(token).is_some()
    }

    /// Counts one attempt of the token and says how it ends: `Some(0)` approves
    /// it whatever the card, `None` leaves it to the card.
    pub fn next(&mut self, token: &str, amount: i64, default_code: u16) -> Option<u16> {
        let Some(running) = self.by_token.get_mut(token) else {
            let anyone = self.anyone?;
            let attempt = self.attempts.entry((token.to_owned(), amount)).or_default();
            *attempt += 1;
            // The amount is part of the draw, since two charges of one token at one instant arrive in any order.
            let declined = draw(anyone.seed, &format!("{token} {amount}"), *attempt) % 1000 < u64::from(anyone.decline_per_mille);
            return Some(if declined { default_code } else { 0 });
        };
        running.attempts += 1;
        let script = &mut running.script;
        if let Some(code) = script.declines.pop_front() {
            return Some(code);
        }
        if script.decline_per_mille == 0 {
            self.by_token.remove(token);
            return None;
        }
        // The draw depends on seed, token and attempt alone, so calls with other tokens do not change it.
        let draw = draw(script.seed, token, running.attempts);
        if draw % 1000 >= u64::from(script.decline_per_mille) {
            return Some(0);
        }
        let place = (draw / 1000) as usize % script.codes.len().max(1);
        Some(script.codes.get(place).copied().unwrap_or(default_code))
    }
}

fn draw(seed: u64, token: &str, attempt: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, token, attempt).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spent_one_for_each_attempt() {
        let mut scripts = Scripts::default();
        scripts.set("a".to_owned(), Script { declines: [202, 0, 223].into(), ..Script::default() });
        let seen: Vec<_> = (0..5).map(|_| scripts.next("a", 1, 200)).collect();
        assert_eq!(seen, [Some(202), Some(0), Some(223), None, None]);
        assert_eq!(scripts.next("b", 1, 200), None);
    }

    #[test]
    fn a_random_share_depends_on_nothing_but_its_seed() {
        let run = |noise: bool| {
            let mut scripts = Scripts::default();
            for token in ["a", "b"] {
                let script = Script { decline_per_mille: 250, codes: vec![202, 203], seed: 3, ..Script::default() };
                scripts.set(token.to_owned(), script);
            }
            (0..400)
                .map(|_| {
                    if noise {
                        scripts.next("b", 1, 200);
                    }
                    scripts.next("a", 1, 200)
                })
                .collect::<Vec<_>>()
        };
        let quiet = run(false);
        assert_eq!(quiet, run(true));
        let declined = quiet.iter().filter(|code| code.is_some_and(|code| code > 0)).count();
        assert!((60..140).contains(&declined), "{declined} of 400");
    }

    #[test]
    fn anyone_is_declined_as_often_as_asked_in_whatever_order() {
        let run = |tokens: &[usize]| {
            let mut scripts = Scripts::default();
            scripts.let_in(Some(Anyone { decline_per_mille: 200, seed: 9 }));
            let mut declined: Vec<usize> =
                tokens.iter().copied().filter(|token| scripts.next(&format!("t{token}"), 100, 202) == Some(202)).collect();
            declined.sort_unstable();
            declined
        };
        let forward: Vec<usize> = (0..1000).collect();
        let backward: Vec<usize> = forward.iter().rev().copied().collect();
        let declined = run(&forward);
        assert!((150..250).contains(&declined.len()), "{} of 1000", declined.len());
        assert_eq!(declined, run(&backward));
        assert_eq!(Scripts::default().next("t", 1, 202), None);
    }
}
