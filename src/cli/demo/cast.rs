//! The data of the demo: six plans, sixty customers in five time zones, and the cards that are declined.

use anyhow::Context;
use serde_json::{Value, json};

use super::{START, endpoint::Endpoint};
use crate::sandbox::{SandboxServer, Script};

pub const FLUID: &str = "fluid";
pub const PAYLIKE: &str = "paylike";

/// The seed of every random decline.
const SEED: u64 = 2026;

/// Name, amount in minor units, terms, number of subscribers, and the text for the reader.
type Offer = (&'static str, i64, &'static [(&'static str, &'static str)], usize, &'static str);
const OFFERS: [Offer; 6] = [
    ("Gym", 3900, &[("billing_frequency", "monthly")], 22, "every month, with a locker (+5.00) and 10 % off for three months"),
    ("Team workspace", 48_000, &[("billing_frequency", "yearly")], 8, "every year"),
    ("Vegetable box", 2450, &[("billing_frequency", "weekly")], 8, "every week"),
    ("Piano lessons", 6000, &[("billing_frequency", "twice_monthly"), ("billing_days", "1,15")], 8, "on the 1st and the 15th"),
    ("Boiler care", 12_000, &[("billing_frequency", "quarterly")], 6, "every quarter"),
    ("Storage room", 7500, &[("billing_frequency", "monthly"), ("billing_days", "31")], 8, "on the last day of each month"),
];

const ZONES: [&str; 5] = ["America/New_York", "Europe/Berlin", "Asia/Tokyo", "Pacific/Auckland", "America/Los_Angeles"];

const FIRST_NAMES: [&str; 12] =
    ["Ada", "Ben", "Chiara", "David", "Emi", "Farid", "Grace", "Hana", "Ivan", "Jola", "Kofi", "Lena"];
const LAST_NAMES: [&str; 5] = ["Hopper", "Meyer", "Tanaka", "Ngata", "Rivera"];

/// A card that is declined: the customer's number, the codes of its coming attempts (0 = approved), and the text for the reader.
type Trouble = (usize, &'static [u16], &'static str);
const TROUBLES: [Trouble; 9] = [
    (1, &[0, 0, 202], "short of money once; the retry a day later goes through"),
    (4, &[0, 0, 0, 202, 202], "short of money twice; the second retry goes through"),
    (7, &[0, 0, 0, 0, 0, 201, 201, 201], "not honoured three times; the third retry goes through"),
    (10, &[0, 0, 0, 0, 223], "expired: no retry, a week for a new card, then lost"),
    (13, &[0, 0, 0, 0, 0, 0, 261], "the bank ended the mandate: cancelled at once"),
    (16, &[0, 202, 202, 202, 202, 202], "short of money to the end of the ladder: lost"),
    (33, &[0, 0, 0, 0, 7], "Paylike: short of money once; recovers"),
    (39, &[0, 0, 0, 0, 0, 0, 0, 7, 7], "Paylike: short of money twice; recovers"),
    (45, &[0, 0, 0, 0, 0, 6], "Paylike: expired, then lost"),
];
/// Customers whose attempts are declined at random, one in eight.
const UNRELIABLE: [usize; 7] = [2, 8, 31, 35, 40, 44, 56];
const DECLINES_PER_MILLE: u16 = 125;

/// Every third customer pays by Paylike.
fn gateway_of(index: usize) -> &'static str {
    if index.is_multiple_of(3) { PAYLIKE } else { FLUID }
}

/// Creates everything on this clock. Returns the id of a customer with a decline, as an example for the reader.
pub async fn create(api: &Endpoint, sandbox: &SandboxServer, clock: &str) -> anyhow::Result<String> {
    let offers = plans(api).await?;
    let total: usize = OFFERS.iter().map(|offer| offer.3).sum();
    let of_paylike = (0..total).filter(|index| gateway_of(*index) == PAYLIKE).count();
    let mut fluid = sandbox.sandbox().fluidpay_tokens(total - of_paylike, "demo").into_iter();
    let mut paylike = sandbox.sandbox().paylike_tokens(of_paylike).into_iter();
    let subscribers = offers.iter().zip(OFFERS).flat_map(|(plan, offer)| std::iter::repeat_n(plan, offer.3));
    let mut example = String::new();
    for (index, plan) in subscribers.enumerate() {
        let gateway = gateway_of(index);
        let token = if gateway == PAYLIKE { paylike.next() } else { fluid.next() }.context("a token for each customer")?;
        if let Some(script) = script(index) {
            sandbox.sandbox().set_script(&token, script);
        }
        let customer = subscribe(api, clock, index, plan, gateway, &token).await?;
        if index == TROUBLES[0].0 {
            example = customer;
        }
    }
    println!("{total} customers in {} time zones; {} pay by FluidPay, {of_paylike} by Paylike.", ZONES.len(), total - of_paylike);
    println!("Some of their cards will make trouble:");
    for (_, _, story) in TROUBLES {
        println!("  - {story}");
    }
    println!("  - {} more are declined now and then", UNRELIABLE.len());
    Ok(example)
}

/// Creates add-on, discount and plans. Returns the plans' ids.
async fn plans(api: &Endpoint) -> anyhow::Result<Vec<String>> {
    let locker = json!({ "name": "Locker", "description": "a locker of one's own", "amount": 500, "duration": 0 });
    let welcome = json!({ "name": "Welcome", "description": "the first three months", "percentage": 10, "duration": 3 });
    let locker = id(api.post("/v1/add-ons", &locker).await?)?;
    let welcome = id(api.post("/v1/discounts", &welcome).await?)?;
    let mut ids = Vec::new();
    println!("{} plans:", OFFERS.len());
    for (index, (name, amount, terms, _, told)) in OFFERS.into_iter().enumerate() {
        let mut plan = json!({ "name": name, "amount": amount, "currency": "USD" });
        for (term, value) in terms {
            plan[*term] = json!(value);
        }
        if index == 0 {
            plan["add_ons"] = json!([{ "id": locker }]);
            plan["discounts"] = json!([{ "id": welcome }]);
        }
        ids.push(id(api.post("/v1/plans", &plan).await?)?);
        println!("  - {name:<15} {:>4}.{:02} USD {told}", amount / 100, amount % 100);
    }
    Ok(ids)
}

/// Creates one customer with a payment method and a subscription. Returns the customer's id.
async fn subscribe(api: &Endpoint, clock: &str, index: usize, plan: &str, gateway: &str, token: &str) -> anyhow::Result<String> {
    let name = format!("{} {}", FIRST_NAMES[index % FIRST_NAMES.len()], LAST_NAMES[index % LAST_NAMES.len()]);
    let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
    let zone = ZONES[index % ZONES.len()];
    let body = json!({ "name": name, "email": email, "timezone": zone, "currency": "USD", "clock_id": clock });
    let customer = id(api.post("/v1/customers", &body).await?)?;
    let method = if gateway == PAYLIKE {
        json!({ "gateway": gateway, "kind": "prior_transaction", "transaction_id": token, "default": true })
    } else {
        json!({ "gateway": gateway, "kind": "vault_token", "customer_token": token, "default": true })
    };
    api.post(&format!("/v1/customers/{customer}/payment-methods"), &method).await?;
    // Spread over January, from the 2nd: at midnight UTC no time zone is past that day.
    let first = START + chrono::Days::new(1 + (index as u64 * 5) % 26);
    let subscription = json!({ "plan_id": plan, "customer": { "id": customer }, "next_bill_date": first.to_string() });
    api.post("/v1/subscriptions", &subscription).await?;
    Ok(customer)
}

fn script(index: usize) -> Option<Script> {
    if let Some((_, codes, _)) = TROUBLES.iter().find(|trouble| trouble.0 == index) {
        return Some(Script { declines: codes.iter().copied().collect(), ..Script::default() });
    }
    UNRELIABLE.contains(&index).then(|| Script {
        decline_per_mille: DECLINES_PER_MILLE,
        codes: vec![202, 201],
        seed: SEED,
        ..Script::default()
    })
}

fn id(answer: Value) -> anyhow::Result<String> {
    answer["id"].as_str().map(str::to_owned).with_context(|| format!("an answer without an id: {answer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_fit_the_gateways_of_their_customers() {
        let count: usize = OFFERS.iter().map(|offer| offer.3).sum();
        for (index, codes, _) in TROUBLES {
            // FluidPay's codes have three digits, Paylike's at most two.
            let paylike = codes.iter().all(|code| *code < 100);
            assert_eq!(gateway_of(index), if paylike { PAYLIKE } else { FLUID }, "customer {index}");
            assert!(index < count);
        }
        // A random decline depends on the token, and Paylike's tokens differ from run to run.
        assert!(UNRELIABLE.iter().all(|index| gateway_of(*index) == FLUID && *index < count));
    }
}
