//! Import: customers, their tokens, their subscriptions and installment plans taken over from another system, all or nothing.
//!
//! The rows are checked by the verbs' own rules; a row that was imported before is refused, so that nobody is billed twice.

use std::collections::{HashMap, HashSet, hash_map::Entry as Slot};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    App, BillingError, Result,
    checks::{self, Checks, ModifierInput},
    customers::{self, CustomerInput},
    installment_plans::create::InstallmentPlanInput,
    payment_methods::{self, PaymentMethodInput},
    subscriptions::subscribe::{self, Named, SubscribeInput},
};
use crate::{
    domain::{
        catalog::{AddOnEntry, DiscountEntry},
        clock::Timeline,
        count,
        customer::Customer,
        event::{Actor, Event},
        installment_plan::InstallmentSchedule,
        payment_method::PaymentMethod,
        plan::Plan,
        subscription::Subscription,
    },
    store::{self, Tx},
};

mod installment_plans;

/// Rows sent to the database, or asked of it, at a time.
const PAGE: usize = 1000;

/// By which name in its metadata an imported subscription is known again.
pub const REFERENCE: &str = "reference";

/// With which the reference of a row begins that has none of its own and is known by its cells.
pub const BY_CELLS: &str = "row:";

#[derive(Debug, Clone)]
pub struct CustomerRow {
    pub line: u64,
    /// With a reference.
    pub customer: CustomerInput,
    pub method: Option<PaymentMethodInput>,
}

#[derive(Debug, Clone)]
pub struct SubscriptionRow {
    pub line: u64,
    /// With a [`REFERENCE`] in its metadata.
    pub input: SubscribeInput,
}

#[derive(Debug, Clone)]
pub struct InstallmentPlanRow {
    pub line: u64,
    /// With a reference, and with what was paid elsewhere.
    pub input: InstallmentPlanInput,
}

/// What is to be imported.
#[derive(Debug, Default)]
pub struct ImportRows {
    pub customers: Vec<CustomerRow>,
    pub subscriptions: Vec<SubscriptionRow>,
    pub installment_plans: Vec<InstallmentPlanRow>,
    /// References of customers whose rows could not even be read: that they are missing is told there, not at each row that names
    /// them.
    pub unread: HashSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sheet {
    Customers,
    Subscriptions,
    InstallmentPlans,
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    pub sheet: Sheet,
    pub line: u64,
    /// As the verbs name it: `add_ons[0].id`.
    pub field: String,
    pub message: String,
}

/// What an import would make. Nothing of it is stored yet.
#[derive(Debug, Default)]
pub struct Prepared {
    pub customers: Vec<Customer>,
    pub methods: Vec<PaymentMethod>,
    /// With their lines.
    pub subscriptions: Vec<(u64, Subscription)>,
    /// The same.
    pub installment_plans: Vec<(u64, InstallmentSchedule)>,
    pub faults: Vec<RowFault>,
}

impl Prepared {
    fn note(&mut self, sheet: Sheet, line: u64, checks: Checks, tell: impl Fn(&str) -> bool) {
        let faults = checks.into_faults().into_iter().filter(|fault| tell(&fault.field));
        self.faults.extend(faults.map(|fault| RowFault { sheet, line, field: fault.field, message: fault.message }));
    }
}

/// Checks every row, and makes of each what would be stored. Writes nothing.
pub async fn prepare(app: &App, rows: ImportRows) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    prepare_customers(app, &mut prepared, rows.customers).await?;
    prepare_subscriptions(app, &mut prepared, rows.subscriptions, &rows.unread).await?;
    installment_plans::prepare(app, &mut prepared, rows.installment_plans, &rows.unread).await?;
    prepared.faults.sort_by_key(|fault| (fault.sheet, fault.line));
    Ok(prepared)
}

async fn prepare_customers(app: &App, prepared: &mut Prepared, rows: Vec<CustomerRow>) -> Result<()> {
    let now = app.clock.now();
    let reference = |row: &CustomerRow| row.customer.reference.clone().unwrap_or_default();
    let there = known_customers(app, rows.iter().map(reference)).await?;
    let mut lines: HashMap<String, u64> = HashMap::new();
    for row in rows {
        let mut checks = Checks::default();
        let key = reference(&row);
        if let Some(known) = there.get(&key) {
            checks.fault("reference", format!("is {}'s already: this row has been imported before", known.id));
        }
        again(&mut checks, &mut lines, key, row.line);
        let customer = customers::draft(app, &mut checks, row.customer, now);
        if let Some(method) = row.method {
            prepared.methods.push(payment_methods::draft(app, &mut checks, &customer, method, true, now));
        }
        prepared.customers.push(customer);
        prepared.note(Sheet::Customers, row.line, checks, |_| true);
    }
    Ok(())
}

async fn prepare_subscriptions(
    app: &App,
    prepared: &mut Prepared,
    rows: Vec<SubscriptionRow>,
    unread: &HashSet<String>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let named = payers(app, prepared, rows.iter().map(|row| &row.input.customer.id)).await?;
    let mut tx = app.db.begin().await?;
    let plans = plans(&mut tx, &rows).await?;
    let add_ons: Vec<AddOnEntry> = catalog(&mut tx, rows.iter().map(|row| row.input.add_ons.as_ref())).await?;
    let discounts: Vec<DiscountEntry> = catalog(&mut tx, rows.iter().map(|row| row.input.discounts.as_ref())).await?;
    let imported = imported(&mut tx, rows.iter().map(|row| reference(&row.input))).await?;
    // Dropped without a commit: nothing is written yet.
    drop(tx);
    let mut nows = Nows::default();
    let mut lines = HashMap::new();
    for SubscriptionRow { line, input } in rows {
        let mut checks = Checks::default();
        let key = reference(&input);
        if imported.contains(&key) {
            let field = if key.starts_with(BY_CELLS) { "" } else { REFERENCE };
            checks.fault(field, "is another subscription's already: this row has been imported before");
        }
        again(&mut checks, &mut lines, key, line);
        let customer = named.get(&input.customer.id);
        let now = nows.of(app, customer).await?;
        let plan = input.plan_id.as_ref().and_then(|key| plans.get(key));
        let told_already = customer.is_none() && unread.contains(&input.customer.id);
        let named = Named { customer, plan, policy: None, methods: &[], add_ons: &add_ons, discounts: &discounts };
        prepared.subscriptions.push((line, subscribe::draft(app, &mut checks, &named, input, now)));
        prepared.note(Sheet::Subscriptions, line, checks, |field| !(told_already && field == "customer.id"));
    }
    Ok(())
}

/// Stores it, in one transaction. Refuses what has faults, and what somebody else has imported meanwhile.
pub async fn store(app: &App, actor: &Actor, prepared: &Prepared) -> Result<()> {
    if !prepared.faults.is_empty() {
        return Err(BillingError::WrongState("rows with faults are not imported".to_owned()));
    }
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    store::subscriptions::lock_imports(&mut tx).await?;
    let references = prepared.subscriptions.iter().map(|(_, subscription)| text(&subscription.metadata));
    if !imported(&mut tx, references).await?.is_empty() {
        return Err(meanwhile());
    }
    let taken = |error: store::Error| if matches!(error, store::Error::Conflict) { meanwhile() } else { error.into() };
    for page in prepared.customers.chunks(PAGE) {
        store::customers::insert_many(&mut tx, page).await.map_err(taken)?;
        let created = |customer: &Customer| {
            app.event(customer.timeline, now, actor, "customer.created", customer.id, json!({ "after": customer }))
        };
        store::events::append(&mut tx, &page.iter().map(created).collect::<Vec<Event>>()).await?;
    }
    let customers: HashMap<_, _> = prepared.customers.iter().map(|customer| (customer.id, customer)).collect();
    for page in prepared.methods.chunks(PAGE) {
        store::payment_methods::insert_many(&mut tx, page).await?;
        let added = |method: &PaymentMethod| {
            let customer = customers.get(&method.customer_id)?;
            Some(payment_methods::added(app, actor, customer, method, now))
        };
        store::events::append(&mut tx, &page.iter().filter_map(added).collect::<Vec<Event>>()).await?;
    }
    for page in prepared.subscriptions.chunks(PAGE) {
        let page: Vec<Subscription> = page.iter().map(|(_, subscription)| subscription.clone()).collect();
        store::subscriptions::insert(&mut tx, &page).await?;
        let created =
            |s: &Subscription| app.event(s.timeline, s.created_at, actor, "subscription.created", s.id, json!({ "after": s }));
        store::events::append(&mut tx, &page.iter().map(created).collect::<Vec<Event>>()).await?;
    }
    installment_plans::store(app, &mut tx, actor, &prepared.installment_plans).await.map_err(taken)?;
    tx.commit().await?;
    Ok(())
}

fn meanwhile() -> BillingError {
    BillingError::WrongState("some of these rows were imported by somebody else just now: nothing was stored".to_owned())
}

/// A key that stands in the file twice.
fn again(checks: &mut Checks, lines: &mut HashMap<String, u64>, key: String, line: u64) {
    match lines.entry(key) {
        Slot::Occupied(first) if first.key().starts_with(BY_CELLS) => {
            checks.fault("", format!("is the same as line {}: give each a reference if both are meant", first.get()));
        }
        Slot::Occupied(first) => checks.fault("reference", format!("is that of line {} already", first.get())),
        Slot::Vacant(slot) => {
            slot.insert(line);
        }
    }
}

fn reference(input: &SubscribeInput) -> String {
    input.metadata.as_ref().map(text).unwrap_or_default()
}

fn text(metadata: &serde_json::Map<String, Value>) -> String {
    metadata.get(REFERENCE).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The customers that rows name: new ones, and those who are there.
async fn payers<'r>(app: &App, prepared: &Prepared, keys: impl Iterator<Item = &'r String>) -> Result<HashMap<String, Customer>> {
    let new = prepared.customers.iter().filter_map(|customer| Some((customer.reference.clone()?, customer.clone())));
    let mut payers: HashMap<String, Customer> = new.collect();
    let others: Vec<String> = keys.filter(|key| !payers.contains_key(*key)).cloned().collect();
    payers.extend(known_customers(app, others.into_iter()).await?);
    Ok(payers)
}

/// The instants of the clocks that customers live by, each asked for once.
#[derive(Default)]
struct Nows(HashMap<Timeline, DateTime<Utc>>);

impl Nows {
    async fn of(&mut self, app: &App, customer: Option<&Customer>) -> Result<DateTime<Utc>> {
        let timeline = customer.map_or(Timeline::Wall, |customer| customer.timeline);
        Ok(match self.0.entry(timeline) {
            Slot::Occupied(now) => *now.get(),
            Slot::Vacant(slot) => *slot.insert(app.now_of(timeline).await?),
        })
    }
}

/// Customers by the keys that name them, id or reference.
async fn known_customers(app: &App, keys: impl Iterator<Item = String>) -> Result<HashMap<String, Customer>> {
    let keys: HashSet<String> = keys.collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut known = HashMap::new();
    for page in keys.chunks(PAGE) {
        for customer in store::customers::find_many(&app.db, page).await? {
            known.insert(customer.id.to_string(), customer.clone());
            known.extend(customer.reference.clone().map(|reference| (reference, customer)));
        }
    }
    Ok(known)
}

/// Plans by the keys that name them; there are few.
async fn plans(tx: &mut Tx, rows: &[SubscriptionRow]) -> Result<HashMap<String, Plan>> {
    let keys: HashSet<&String> = rows.iter().filter_map(|row| row.input.plan_id.as_ref()).collect();
    let mut plans = HashMap::new();
    for key in keys {
        plans.extend(store::plans::find_in(tx, key).await?.map(|plan| (key.clone(), plan)));
    }
    Ok(plans)
}

/// The catalog entries that any row names.
async fn catalog<'r, K: store::catalog::CatalogKind>(
    tx: &mut Tx,
    lists: impl Iterator<Item = Option<&'r Vec<ModifierInput>>>,
) -> Result<Vec<crate::domain::catalog::Entry<K>>>
where
    crate::domain::catalog::Entry<K>: store::db::Record,
{
    let named: HashSet<&str> = lists.flatten().flatten().map(|input| input.id.as_str()).collect();
    let named: Vec<ModifierInput> =
        named.into_iter().map(|id| ModifierInput { id: id.to_owned(), ..ModifierInput::default() }).collect();
    let mut entries = Vec::new();
    // In steps no longer than one subscription's list may be.
    for page in named.chunks(checks::MAX_MODIFIERS) {
        entries.extend(checks::entries::<K>(tx, page).await?);
    }
    Ok(entries)
}

/// Which of these references a subscription has already. Reads each subscription's once: a question for each would cost more.
async fn imported(tx: &mut Tx, references: impl Iterator<Item = String>) -> Result<HashSet<String>> {
    let wanted: HashSet<String> = references.collect();
    let mut found = HashSet::new();
    let mut after = String::new();
    loop {
        let page = store::subscriptions::references(tx, &after, count(10 * PAGE)).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = last.to_string();
        found.extend(page.into_iter().filter_map(|(_, reference)| reference).filter(|reference| wanted.contains(reference)));
    }
}
