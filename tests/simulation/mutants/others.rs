//! More broken builds, to judge what the simulation sees: `cargo test --test it simulation::mutants::others -- --ignored --nocapture`.
//! `REBILLD_SIM_MUTANT=words` runs only those that have the words in their name.

use super::{Mutant, Patch};

const OTHERS: &[(&str, &[Patch])] = &[
    (
        "lease token not checked",
        &[Patch {
            file: "src/billing/payments/batch/effects.rs",
            find: "let is_ours = payment.lease_token == claimed.lease_token;",
            replace: "let is_ours = true;",
        }],
    ),
    // The token rises when a lease ends and when a lookup is claimed. The end alone gives the payment to nobody, so an answer that
    // comes between the two may still be booked. The claim gives the payment to another daemon: from then on the old claim is over.
    (
        "lease token does not rise",
        &[
            Patch {
                file: "src/store/leases.rs",
                find: "lease_token = lease_token + 1, called_at = $1",
                replace: "called_at = $1",
            },
            Patch {
                file: "src/store/leases.rs",
                find: "update payments set lease_owner = $1, lease_token = lease_token + 1,",
                replace: "update payments set lease_owner = $1,",
            },
        ],
    ),
    (
        "authorization not written down",
        &[Patch {
            file: "src/store/payments.rs",
            find: "        \"idempotency_key\",\n",
            replace: "        \"idempotency_key\",\n        \"transaction_id\",\n",
        }],
    ),
    // Two defences against one late call. The wait lets a call of usual lateness arrive before the payment is given up. The lookup a
    // day later finds a call that a standstill held up for longer than a lease, and would find the others too, a day late.
    (
        "what is not wanted is given up before a late call can have arrived",
        &[
            Patch {
                file: "src/domain/payment/transition/open.rs",
                find: "if !facts.has_had_time(&payment) {",
                replace: "if false && !facts.has_had_time(&payment) {",
            },
            Patch {
                file: "src/domain/payment/transition/open.rs",
                find: "payment.next_lookup_at = Some(facts.wall + SECOND_LOOK_AFTER);",
                replace: "payment.next_lookup_at = Some(facts.wall + SECOND_LOOK_AFTER).filter(|_| false);",
            },
        ],
    ),
    (
        "an authorization that is not wanted is over before it is given free",
        &[Patch {
            file: "src/domain/payment/transition/open.rs",
            find: "    payment.status = PaymentStatus::Unknown;\n    payment.lease_expires_at = None;\n    payment.next_lookup_at = Some(facts.wall + facts.lease);\n    Transition::to(payment).then(PaymentStep::Void)",
            replace: "    not_wanted(payment, facts)",
        }],
    ),
    (
        "429 after a lost answer ends the payment",
        &[Patch {
            file: "src/domain/payment/transition/open.rs",
            find: "if payment.was_sent_before() {\n        return look_up_later",
            replace: "if false && payment.was_sent_before() {\n        return look_up_later",
        }],
    ),
    (
        "a partial approval counts as the whole",
        &[Patch {
            file: "src/domain/payment/transition/open.rs",
            find: "payment.amount_captured = amount_minor;",
            replace: "payment.amount_captured = payment.amount.max(amount_minor);",
        }],
    ),
    (
        "a late success of a payment that was given up is not booked",
        &[Patch {
            file: "src/domain/payment/transition.rs",
            find: "    let has_money = matches!(",
            replace: "    if !payment.status.is_open() {\n        return Transition::default();\n    }\n    let has_money = matches!(",
        }],
    ),
    (
        "5xx counts as not processed",
        &[Patch {
            file: "src/gateway/http.rs",
            find: "let broken = NoAnswer::unknown(format!(\"the gateway answered with status {}\", status.as_u16()));",
            replace: "let broken = NoAnswer::NotProcessed { message: format!(\"status {}\", status.as_u16()), retry_after: None };",
        }],
    ),
    (
        "no idempotency key",
        &[Patch {
            file: "src/gateway/fluidpay.rs",
            find: "\"idempotency_key\": charge.idempotency_key,",
            replace: "\"idempotency_key\": \"\",",
        }],
    ),
    (
        "a gateway's fault spends a step",
        &[Patch {
            file: "src/billing/payments/batch/ladder.rs",
            find: "if decline.class == DeclineClass::GatewayFault {",
            replace: "if false && decline.class == DeclineClass::GatewayFault {",
        }],
    ),
    (
        "void does not ask for payments on their way",
        &[Patch {
            file: "src/billing/invoices/void.rs",
            find: "filter(|invoice| !in_flight.contains(&invoice.id))",
            replace: "filter(|invoice| true || !in_flight.contains(&invoice.id))",
        }],
    ),
    (
        "a refund does not tell what went back before",
        &[Patch {
            file: "src/billing/refunds/refund.rs",
            find: "returned_before: payment.amount_refunded,",
            replace: "returned_before: 0,",
        }],
    ),
    (
        "a refund that came through late is not booked",
        &[Patch {
            file: "src/domain/refund/transition.rs",
            find: "self.was_given_up() && (returned ||",
            replace: "self.was_given_up() && (false && returned ||",
        }],
    ),
    (
        "a refund is given up before a late call can have arrived",
        &[Patch {
            file: "src/domain/refund/transition.rs",
            find: "if wall - self.sent_at < lease {",
            replace: "if lease > TimeDelta::zero() && wall - self.sent_at < TimeDelta::zero() {",
        }],
    ),
    (
        "a restarted daemon forgets its claims and nobody else frees them",
        &[Patch {
            file: "src/store/leases.rs",
            find: "status in ('pending', 'authorized')\n             and (lease_expires_at <= $1 or lease_owner = $2) limit 500",
            replace: "status in ('pending', 'authorized')\n             and (lease_expires_at < '2000-01-01' and $1 is not null and lease_owner = $2) limit 500",
        }],
    ),
];

pub fn all() -> impl Iterator<Item = Mutant> {
    OTHERS.iter().map(|(name, patches)| Mutant { name, patches })
}

#[test]
#[ignore = "half an hour: for judging the simulation, not the product"]
fn others_are_caught() {
    let wanted = std::env::var("REBILLD_SIM_MUTANT").unwrap_or_default();
    let chosen: Vec<Mutant> = all().filter(|mutant| mutant.name.contains(&wanted)).collect();
    assert!(!chosen.is_empty(), "REBILLD_SIM_MUTANT: no broken build has `{wanted}` in its name");
    let mut lives = Vec::new();
    for mutant in chosen {
        let (name, begun) = (mutant.name, std::time::Instant::now());
        match mutant.run("0..1000") {
            Ok(words) => println!("caught: {name}: {words} ({:.0?})", begun.elapsed()),
            Err(words) => {
                println!("LIVES: {name}: {words}");
                lives.push(name);
            }
        }
    }
    assert!(lives.is_empty(), "not caught: {lives:?}");
}
