//! A world with one of each thing, and the fingerprint that tells whether anything in it has changed.

use std::collections::BTreeMap;

use rebilld::{
    domain::{
        api_key::ApiKey,
        authorization::Authorization,
        catalog::Entry,
        clock::{TestClock, Timeline},
        credit_note::CreditNote,
        customer::{Credit, Customer},
        dispute::Dispute,
        dunning::Policy,
        event::Event,
        id::{AddOn, Discount, Id},
        installment_plan::{Installment, InstallmentPlan},
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        payment_method::{MethodKind, PaymentMethod},
        payment_request::PaymentRequest,
        plan::Plan,
        refund::Refund,
        roll_out::RollOut,
        subscription::Subscription,
    },
    store::{self, db::Row, runs::JobRun},
};
use serde_json::{Value, json};

use crate::http::TestServer;

/// Ids by name: `{sub}` in a path or body is put in for it.
pub struct Stage {
    pub names: BTreeMap<&'static str, String>,
    fingerprint: &'static str,
}

fn id_of(made: &Value) -> String {
    made["id"].as_str().expect("id").to_owned()
}

/// 300 in each of three months to come.
pub fn installment_plan() -> Value {
    json!({"customer": {"id": "ada"}, "amount": 900, "installments": 3, "billing_frequency": "monthly", "first_date": "2026-07-01"})
}

impl Stage {
    pub async fn set(server: &TestServer) -> Self {
        let mut names = BTreeMap::new();
        let clock = server.clock("2026-06-01T00:00:00Z").await;
        let plain = json!({"name": "Ada", "reference": "ada", "clock_id": clock, "email": "ada@example.com"});
        names.insert("cus", id_of(&server.made("/v1/customers", plain).await));
        let token = json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "tok"});
        names.insert("pm", id_of(&server.made("/v1/customers/ada/payment-methods", token).await));
        names.insert(
            "addon",
            id_of(&server.made("/v1/add-ons", json!({"name": "Extra", "amount": 200, "reference": "extra"})).await),
        );
        names.insert(
            "disc",
            id_of(&server.made("/v1/discounts", json!({"name": "Less", "percentage": 10, "reference": "less"})).await),
        );
        let plan = json!({"name": "Gold", "reference": "gold", "amount": 2000, "billing_frequency": "monthly", "billing_days": "1",
            "add_ons": [{"id": "extra"}], "discounts": [{"id": "less"}]});
        names.insert("plan", id_of(&server.made("/v1/plans", plan).await));
        let policy = json!({"name": "Gentle", "reference": "gentle", "steps": [{"after_days": 2}, {"after_days": 4}]});
        names.insert("dun", id_of(&server.made("/v1/dunning-policies", policy).await));
        names.insert("key", id_of(&server.made("/v1/api-keys", json!({"name": "spare", "scope": "read"})).await));
        let subscribe = async |more: Value| {
            let mut body = json!({"customer": {"id": "ada"}, "amount": 1000, "billing_frequency": "monthly"});
            body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
            id_of(&server.made("/v1/subscriptions", body).await)
        };
        for name in ["sub", "paid_sub", "paused", "cancelled", "parked"] {
            names.insert(name, subscribe(json!({"description": name})).await);
        }
        names.insert("trialing", subscribe(json!({"trial_days": 60})).await);
        server.bill(&clock, "2026-06-16T12:00:00Z").await;
        for name in ["inst", "inst_cancelled"] {
            names.insert(name, id_of(&server.made("/v1/installment-plans", installment_plan()).await));
        }
        server.post(&format!("/v1/installment-plans/{}/cancel", names["inst_cancelled"]), json!({})).await.ok(200);
        let mut strict = installment_plan();
        strict
            .as_object_mut()
            .expect("object")
            .extend([("default_after".to_owned(), json!(1)), ("down_payment".to_owned(), json!({"amount": 300}))]);
        let strict = server.made("/v1/installment-plans", strict).await;
        let failing = strict["installments"][0]["invoice_id"].as_str().expect("an invoice");
        server.post(&format!("/v1/invoices/{failing}/mark_uncollectible"), json!({})).await.ok(200);
        names.insert("inst_defaulted", id_of(&strict));
        let act = async |name: &str, verb: &str, body: Value| {
            server.post(&format!("/v1/subscriptions/{}/{verb}", names[name]), body).await.ok(200);
        };
        act("paused", "pause", json!({})).await;
        act("cancelled", "cancel", json!({"when": "now"})).await;
        names.insert("clk", clock);
        let mut stage = Self { names, fingerprint: fingerprint() };
        stage.money(server).await;
        stage
    }

    /// What only gateways and accidents bring about.
    async fn money(&mut self, server: &TestServer) {
        let invoices = server.invoices().await;
        let of = |name: &str| {
            invoices
                .iter()
                .find(|invoice| invoice.subscription_id.is_some_and(|id| id.to_string() == self.names[name]))
                .expect("billed")
                .clone()
        };
        let (paid, open, stuck) = (of("paid_sub"), of("sub"), of("parked"));
        let id: Id<rebilld::domain::id::Payment> = server.app.id();
        let payment = |invoice: &Invoice, id: Id<rebilld::domain::id::Payment>, status| Payment {
            id,
            invoice_id: invoice.id,
            customer_id: invoice.customer_id,
            payment_method_id: None,
            payment_request_id: None,
            timeline: invoice.timeline,
            attempt: 1,
            gateway: "fluid".into(),
            kind: MethodKind::VaultToken,
            reference: id.short_reference(),
            idempotency_key: id.to_string(),
            customer_token: Some("tok".into()),
            payment_method_token: None,
            prior_transaction_id: None,
            credential: None,
            reason: rebilld::domain::payment::Reason::Recurring,
            description: "Gym".into(),
            amount: invoice.total.max(1),
            amount_captured: if status == PaymentStatus::Succeeded { invoice.total } else { 0 },
            amount_refunded: 0,
            amount_disputed: 0,
            overpayment: 0,
            currency: invoice.currency,
            status,
            transaction_id: Some("t1".into()),
            authorization_id: None,
            decline_class: None,
            decline_code: None,
            decline_message: None,
            lease_owner: None,
            lease_token: 0,
            lease_expires_at: None,
            lookups: 0,
            next_lookup_at: None,
            sent_at: invoice.created_at,
            created_at: invoice.created_at,
            resolved_at: None,
            return_at: None,
            called_at: invoice.created_at,
        };
        let (taken, parked) =
            (payment(&paid, id, PaymentStatus::Succeeded), payment(&stuck, server.app.id(), PaymentStatus::Parked));
        let given = payment(&paid, server.app.id(), PaymentStatus::Declined);
        let refund = Refund {
            id: server.app.id(),
            payment_id: Some(given.id),
            invoice_id: paid.id,
            timeline: paid.timeline,
            destination: rebilld::domain::refund::RefundTo::Method,
            amount: 1,
            returned_before: 0,
            currency: paid.currency,
            reason: "unhappy".into(),
            status: rebilld::domain::refund::RefundStatus::Parked,
            voided: false,
            transaction_id: None,
            message: Some("no answer".into()),
            lease_owner: None,
            lease_token: 0,
            lease_expires_at: None,
            lookups: 9,
            next_lookup_at: None,
            sent_at: paid.created_at,
            created_at: paid.created_at,
            resolved_at: None,
        };
        self.names.insert("refund", refund.id.to_string());
        let subscription = self.names["parked"].parse().expect("id");
        let subscription = store::subscriptions::get(&server.app.db, subscription).await.expect("read").expect("subscription");
        let subscription = Subscription {
            status: rebilld::domain::subscription::SubscriptionStatus::Parked,
            parked_reason: Some("too many missed".into()),
            due_at: None,
            ..subscription
        };
        let settled = Invoice { status: InvoiceStatus::Paid, amount_paid: paid.total, next_attempt_at: None, ..paid.clone() };
        let waiting = Invoice { next_attempt_at: None, ..stuck.clone() };
        let mut tx = server.app.db.begin().await.expect("tx");
        // As if all invoices had been in other hands when the credit came, else it would have paid one.
        let ada = store::customers::lock(&mut tx, "ada").await.expect("read").expect("ada");
        let credit = Credit {
            id: server.app.id(),
            customer_id: ada.id,
            amount: 100,
            currency: ada.currency,
            reason: "hello".into(),
            invoice_id: None,
            created_at: paid.created_at,
        };
        self.names.insert("cred", credit.id.to_string());
        self.names.insert("cn", "cn_01h455vb4pex5vsknk084sn02q".into());
        store::customers::save_balances(&mut tx, &[Customer { balance: 100, ..ada }], &[credit]).await.expect("credit");
        store::payments::insert(&mut tx, &[taken.clone(), parked.clone(), given]).await.expect("payments");
        store::refunds::insert(&mut tx, refund).await.expect("a refund");
        store::invoices::save(&mut tx, &[settled, waiting]).await.expect("invoices");
        store::subscriptions::save(&mut tx, &[subscription]).await.expect("parked");
        tx.commit().await.expect("commit");
        assert!(matches!(paid.timeline, Timeline::Test(_)));
        let asked = json!({"invoice_id": stuck.id, "gateway": "paysley"});
        self.names.insert("preq", id_of(&server.made("/v1/payment-requests", asked).await));
        for (name, id) in [("inv_paid", paid.id), ("inv", open.id), ("inv_stuck", stuck.id)] {
            self.names.insert(name, id.to_string());
        }
        self.names.insert("pay", parked.id.to_string());
        self.names.insert("pay_done", taken.id.to_string());
        self.names.insert("evt", "evt_01h455vb4pex5vsknk084sn02q".into());
        self.names.insert("roll", "roll_01h455vb4pex5vsknk084sn02q".into());
        self.names.insert("dsp", "dsp_01h455vb4pex5vsknk084sn02q".into());
        self.names.insert("auth", "auth_01h455vb4pex5vsknk084sn02q".into());
        self.names.insert("run", "run_01h455vb4pex5vsknk084sn02q".into());
    }

    /// Puts ids in for their names.
    pub fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, id) in &self.names {
            text = text.replace(&format!("{{{name}}}"), id);
        }
        text
    }

    /// Every row of every table but those that keep answers for repeats.
    pub async fn fingerprint(&self, server: &TestServer) -> Vec<String> {
        let rows: Vec<(String,)> = server.app.db.query(self.fingerprint).all().await.expect("rows");
        rows.into_iter().map(|row| row.0).collect()
    }
}

fn fingerprint() -> &'static str {
    fn rows<T: Row>() -> String {
        let columns: Vec<String> =
            T::columns().iter().map(|column| format!("coalesce(cast({column} as text), 'null')")).collect();
        format!("select '{}|' || {} as line from {}", T::TABLE, columns.join(" || '|' || "), T::TABLE)
    }
    let tables = [
        rows::<TestClock>(),
        rows::<ApiKey>(),
        rows::<Entry<AddOn>>(),
        rows::<Entry<Discount>>(),
        rows::<Plan>(),
        rows::<Policy>(),
        rows::<Customer>(),
        rows::<Credit>(),
        rows::<CreditNote>(),
        rows::<PaymentMethod>(),
        rows::<Subscription>(),
        rows::<InstallmentPlan>(),
        rows::<Installment>(),
        rows::<Invoice>(),
        rows::<Payment>(),
        rows::<Refund>(),
        rows::<Authorization>(),
        rows::<PaymentRequest>(),
        rows::<Dispute>(),
        rows::<Event>(),
        rows::<JobRun>(),
        rows::<RollOut>(),
        rows::<store::gateways::GatewayPause>(),
        rows::<store::gateways::GatewayRefusal>(),
        "select 'counters|' || name || cast(value as text) as line from counters".to_owned(),
    ];
    Box::leak(format!("{} order by line", tables.join(" union all ")).into_boxed_str())
}
