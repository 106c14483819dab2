//! The columns of the three files, and the input of a verb that each row becomes.

use std::path::Path;

use chrono::NaiveDate;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};

use super::sheet::{self, Read, RowError};
use crate::{
    billing::{
        checks::ModifierInput,
        customers::{CustomerInput, CustomerRef},
        import::{BY_CELLS, CustomerRow, InstallmentPlanRow, REFERENCE, Sheet, SubscriptionRow},
        installment_plans::create::{DownPaymentInput, InstallmentPlanInput, PartInput, TakenOver},
        payment_methods::PaymentMethodInput,
        subscriptions::subscribe::{Start, SubscribeInput},
    },
    domain::{
        calendar::Zone,
        frequency::Frequency,
        money::{Currency, MAX_AMOUNT_MINOR},
        payment_method::MethodKind,
    },
    input::{Faults, Input, Structure, UpTo, body},
};

body! {
    struct CustomerCells {
        /// The other system's own id.
        reference: String line up to 255,
        name: String line up to 255,
        email: Option<String> up to 254,
        phone: Option<String> up to 40,
        locale: Option<String> up to 35,
        timezone: Option<Zone>,
        currency: Option<Currency>,
        /// Name of a configured gateway; left out: no payment method.
        gateway: Option<String> line up to 100,
        customer_token: Option<String> line up to 255,
        payment_method_token: Option<String> line up to 255,
        transaction_id: Option<String> line up to 255,
        expires: Option<String> up to 10,
        last_four: Option<String> up to 4,
    }
}

body! {
    struct SubscriptionCells {
        /// By which the row is known again; left out: by all its cells.
        reference: Option<String> line up to 255,
        /// Reference or id.
        customer: String line up to 255,
        /// Reference or id.
        plan: Option<String> line up to 255,
        description: Option<String> up to 255,
        /// Minor units.
        amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        currency: Option<Currency>,
        billing_frequency: Option<Frequency>,
        billing_cycle_interval: Option<i64> in 1..=1000,
        billing_days: Option<String> up to 100,
        quantity: Option<i64> in 1..=100_000,
        timezone: Option<Zone>,
        /// The last day that is paid for.
        paid_through: NaiveDate,
        /// A bill date of the past or the future, from which the schedule is laid.
        start_date: Option<NaiveDate>,
        /// Charges that remain; 0 = no end.
        duration: Option<i64> in 0..=100_000,
        ends_on: Option<NaiveDate>,
        /// References or ids, `;` between them.
        add_ons: Option<String> up to 1000,
        discounts: Option<String> up to 1000,
    }
}

body! {
    struct InstallmentPlanCells {
        /// The other system's own id.
        reference: String line up to 255,
        /// Reference or id.
        customer: String line up to 255,
        description: Option<String> up to 255,
        /// The total, minor units, down payment included.
        amount: i64 in 1..=MAX_AMOUNT_MINOR,
        currency: Option<Currency>,
        /// Minor units; it was paid elsewhere.
        down_payment: Option<i64> in 1..=MAX_AMOUNT_MINOR,
        /// How many in all, besides the down payment.
        installments: Option<i64> in 1..=1000,
        billing_frequency: Option<Frequency>,
        billing_cycle_interval: Option<i64> in 1..=1000,
        billing_days: Option<String> up to 100,
        /// Of the first of all, mostly in the past.
        first_date: Option<NaiveDate>,
        /// Every installment instead.
        schedule: Option<Dated>,
        timezone: Option<Zone>,
        default_after: Option<i64> in 0..=1000,
        /// Every installment up to and with this day was paid elsewhere.
        paid_through: Option<NaiveDate>,
        /// So many, by date, were paid elsewhere.
        installments_paid: Option<i64> in 0..=1000,
    }
}

/// Which of the three files has these columns.
pub fn sheet_of(columns: &[String]) -> Sheet {
    let has = |name: &str| columns.iter().any(|column| column == name);
    let of_plans = ["down_payment", "installments", "first_date", "schedule", "installments_paid", "default_after"];
    if !has("customer") {
        Sheet::Customers
    } else if of_plans.into_iter().any(has) {
        Sheet::InstallmentPlans
    } else {
        Sheet::Subscriptions
    }
}

/// A cell of dates and amounts: `2030-01-31 5000; 2030-02-28 5000`.
#[derive(Debug, Clone)]
struct Dated(Vec<PartInput>);

impl Input for Dated {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        let part = |part: &str| {
            let (date, amount) = part.trim().split_once(char::is_whitespace)?;
            Some(PartInput { date: date.parse().ok()?, amount: amount.trim().parse().ok()? })
        };
        let read: Option<Vec<_>> = value.as_str().and_then(|text| text.split(';').map(part).collect());
        if read.is_none() {
            faults.push(at, "must be dates and minor units such as 2030-01-31 5000; 2030-02-28 5000");
        }
        read.map(Self)
    }

    fn schema((): &()) -> RefOr<Schema> {
        String::schema(&UpTo(20_000))
    }
}

pub fn customers(path: &Path) -> anyhow::Result<(Vec<CustomerRow>, Vec<RowError>)> {
    let (rows, errors) = sheet::read::<CustomerCells>(Sheet::Customers, path, &["reference", "name"])?;
    Ok((rows.into_iter().map(customer).collect(), errors))
}

pub fn subscriptions(path: &Path, backdated: bool) -> anyhow::Result<(Vec<SubscriptionRow>, Vec<RowError>)> {
    let (rows, errors) = sheet::read::<SubscriptionCells>(Sheet::Subscriptions, path, &["customer", "paid_through"])?;
    Ok((rows.into_iter().map(|row| subscription(row, backdated)).collect(), errors))
}

pub fn installment_plans(path: &Path, backdated: bool) -> anyhow::Result<(Vec<InstallmentPlanRow>, Vec<RowError>)> {
    let required = ["reference", "customer", "amount"];
    let (rows, errors) = sheet::read::<InstallmentPlanCells>(Sheet::InstallmentPlans, path, &required)?;
    Ok((rows.into_iter().map(|row| installment_plan(row, backdated)).collect(), errors))
}

fn customer(Read { line, cells, .. }: Read<CustomerCells>) -> CustomerRow {
    let pays = cells.gateway.is_some()
        || [&cells.customer_token, &cells.payment_method_token, &cells.transaction_id].into_iter().any(Option::is_some)
        || cells.expires.is_some()
        || cells.last_four.is_some();
    let kind = if cells.transaction_id.is_some() { MethodKind::PriorTransaction } else { MethodKind::VaultToken };
    let method = pays.then(|| PaymentMethodInput {
        gateway: cells.gateway.unwrap_or_default(),
        kind,
        customer_token: cells.customer_token,
        payment_method_token: cells.payment_method_token,
        transaction_id: cells.transaction_id,
        channels: None,
        expires: cells.expires,
        last_four: cells.last_four,
        default: None,
        priority: None,
    });
    let customer = CustomerInput {
        reference: Some(cells.reference),
        name: cells.name,
        email: cells.email,
        phone: cells.phone,
        locale: cells.locale,
        timezone: cells.timezone,
        currency: cells.currency,
        metadata: None,
        clock_id: None,
    };
    CustomerRow { line, customer, method }
}

fn subscription(Read { line, cells, digest }: Read<SubscriptionCells>, backdated: bool) -> SubscriptionRow {
    let reference = cells.reference.unwrap_or_else(|| format!("{BY_CELLS}{digest}"));
    let metadata = [(REFERENCE.to_owned(), json!(reference))].into_iter().collect();
    let input = SubscribeInput {
        customer: CustomerRef { id: cells.customer },
        plan_id: cells.plan,
        description: cells.description,
        amount: cells.amount,
        quantity: cells.quantity,
        currency: cells.currency,
        timezone: cells.timezone,
        billing_frequency: cells.billing_frequency,
        billing_cycle_interval: cells.billing_cycle_interval,
        billing_days: cells.billing_days,
        duration: cells.duration,
        next_bill_date: cells.start_date.map(Start::Date),
        backdated,
        paid_through: Some(cells.paid_through),
        ends_on: cells.ends_on,
        add_ons: cells.add_ons.map(|list| modifiers(&list)),
        discounts: cells.discounts.map(|list| modifiers(&list)),
        metadata: Some(metadata),
        ..SubscribeInput::default()
    };
    SubscriptionRow { line, input }
}

fn installment_plan(Read { line, cells, .. }: Read<InstallmentPlanCells>, backdated: bool) -> InstallmentPlanRow {
    let taken_over = TakenOver { paid_through: cells.paid_through, installments_paid: cells.installments_paid, backdated };
    let input = InstallmentPlanInput {
        customer: CustomerRef { id: cells.customer },
        reference: Some(cells.reference),
        description: cells.description,
        amount: cells.amount,
        currency: cells.currency,
        down_payment: cells.down_payment.map(|down| DownPaymentInput { amount: Some(down), percentage: None }),
        installments: cells.installments,
        billing_frequency: cells.billing_frequency,
        billing_cycle_interval: cells.billing_cycle_interval,
        billing_days: cells.billing_days,
        first_date: cells.first_date,
        schedule: cells.schedule.map(|dated| dated.0),
        timezone: cells.timezone,
        default_after: cells.default_after,
        taken_over: Some(taken_over),
        ..InstallmentPlanInput::default()
    };
    InstallmentPlanRow { line, input }
}

fn modifiers(list: &str) -> Vec<ModifierInput> {
    let ids = list.split(';').map(str::trim).filter(|id| !id.is_empty());
    ids.map(|id| ModifierInput { id: id.to_owned(), ..ModifierInput::default() }).collect()
}

/// The column that a field of an input comes from.
pub fn column(field: &str) -> &str {
    let name = field.split(['.', '[']).next().unwrap_or(field);
    match name {
        "plan_id" => "plan",
        "next_bill_date" => "start_date",
        // The kind follows from the tokens that a row has; the gateway decides which kind is right.
        "kind" => "gateway",
        other => other,
    }
}

/// Columns that are checked together share the name of one of them: if one of their cells cannot be read, the others are not blamed.
pub fn together(column: &str) -> &str {
    match column {
        "customer_token" | "payment_method_token" | "transaction_id" => "gateway",
        "installments_paid" => "paid_through",
        other => other,
    }
}

/// The place of a column in the documented files, whatever its place in this one.
pub fn place(sheet: Sheet, column: &str) -> usize {
    let columns = match sheet {
        Sheet::Customers => CustomerCells::names(),
        Sheet::Subscriptions => SubscriptionCells::names(),
        Sheet::InstallmentPlans => InstallmentPlanCells::names(),
    };
    columns.iter().position(|name| *name == column).unwrap_or(0)
}
