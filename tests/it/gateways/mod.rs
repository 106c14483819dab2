//! Gateway adapters over real connections.

mod contract;
mod look_ups;
mod requests;
mod transport;

use std::time::Duration;

use rebilld::{
    domain::money::Currency,
    gateway::{Charge, Mandate, Sent, Source, fluidpay::FluidPay, http::Settings, paylike::Paylike},
};

pub const KEY: &str = "api_key_of_the_merchant";

pub fn settings(base_url: &str, timeout: Duration) -> Settings {
    Settings {
        name: "test".into(),
        base_url: base_url.into(),
        api_key: KEY.into(),
        merchant_id: "55006bdfe0308c4cbfdbd0e1".into(),
        timeout,
        max_in_flight: 8,
    }
}

pub fn fluidpay(base_url: &str, timeout: Duration) -> FluidPay {
    FluidPay::new(&settings(base_url, timeout)).expect("usable settings")
}

pub fn paylike(base_url: &str, timeout: Duration) -> Paylike {
    Paylike::new(&settings(base_url, timeout)).expect("usable settings")
}

pub fn vault_charge(reference: &str, customer_token: &str) -> Charge {
    Charge {
        reference: reference.into(),
        idempotency_key: format!("idem-{reference}"),
        source: Source::VaultToken { customer_token: customer_token.into(), payment_method_token: None },
        amount_minor: 2500,
        currency: Currency::USD,
        description: "March".into(),
        mandate: Mandate::default(),
    }
}

pub fn prior_charge(reference: &str, transaction_id: &str) -> Charge {
    Charge {
        source: Source::PriorTransaction { transaction_id: transaction_id.into() },
        currency: "EUR".parse().expect("known"),
        ..vault_charge(reference, "")
    }
}

pub fn sent(charge: &Charge, sent_at: chrono::DateTime<chrono::Utc>) -> Sent {
    Sent {
        reference: charge.reference.clone(),
        amount_minor: charge.amount_minor,
        currency: charge.currency,
        transaction_id: None,
        sent_at,
    }
}
