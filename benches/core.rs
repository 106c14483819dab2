//! Micro-benchmarks of the pure core: the nth date, the price of a cycle, ids. Run with `cargo bench`; never a test in CI.

use chrono::{DateTime, NaiveDate};
use rebilld::domain::{
    calendar,
    frequency::{Frequency, Recurrence, Schedule},
    id::IdSource,
    invoice::{Adjustment, ChargeTerms, Modifier, price},
    money::Percentage,
    proration::Share,
};

fn main() {
    divan::main();
}

/// Each frequency, and how far: the cost must not depend on n.
const SLOTS: [(Frequency, u64); 12] = [
    (Frequency::Daily, 1),
    (Frequency::Daily, 10_000),
    (Frequency::Weekly, 1),
    (Frequency::Weekly, 10_000),
    (Frequency::TwiceMonthly, 1),
    (Frequency::TwiceMonthly, 10_000),
    (Frequency::Monthly, 1),
    (Frequency::Monthly, 10_000),
    (Frequency::Quarterly, 1),
    (Frequency::Quarterly, 10_000),
    (Frequency::Yearly, 1),
    (Frequency::Yearly, 10_000),
];

/// Long enough ago for ten thousand years.
fn schedule(frequency: Frequency) -> Schedule {
    let recurrence = Recurrence::new(frequency, 1, None).expect("a recurrence");
    Schedule::new(recurrence, NaiveDate::from_ymd_opt(-1000, 1, 31).expect("a date"))
}

#[divan::bench(args = SLOTS.iter().map(Slot))]
fn nth_date(bencher: divan::Bencher, Slot((frequency, n)): &Slot) {
    let schedule = schedule(*frequency);
    bencher.bench(|| schedule.date(divan::black_box(*n)));
}

#[divan::bench(args = SLOTS.iter().map(Slot))]
fn next_slot(bencher: divan::Bencher, Slot((frequency, n)): &Slot) {
    let schedule = schedule(*frequency);
    bencher.bench(|| schedule.next_slot(divan::black_box(*n)));
}

#[divan::bench(args = SLOTS.iter().map(Slot))]
fn period(bencher: divan::Bencher, Slot((frequency, n)): &Slot) {
    let schedule = schedule(*frequency);
    bencher.bench(|| schedule.period(divan::black_box(*n)));
}

#[divan::bench(args = SLOTS.iter().map(Slot))]
fn slot_on_or_after(bencher: divan::Bencher, Slot((frequency, n)): &Slot) {
    let schedule = schedule(*frequency);
    let date = schedule.date(*n).expect("a date");
    bencher.bench(|| schedule.slot_on_or_after(divan::black_box(date)));
}

/// Shown by name in the table of results.
struct Slot(&'static (Frequency, u64));

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.0, self.0.1)
    }
}

#[divan::bench]
fn date_to_instant(bencher: divan::Bencher) {
    let (date, time) =
        (NaiveDate::from_ymd_opt(2026, 3, 29).expect("a date"), chrono::NaiveTime::from_hms_opt(2, 30, 0).expect("a time"));
    bencher.bench(|| calendar::instant(divan::black_box(date), time, chrono_tz::Europe::Berlin));
}

#[divan::bench]
fn price_of_a_cycle(bencher: divan::Bencher) {
    let modifier = |adjustment| Modifier {
        id: "x".into(),
        name: "Towel".into(),
        description: String::new(),
        adjustment,
        duration: 0,
        applied_from: 0,
    };
    let add_ons = [modifier(Adjustment::Amount(300))];
    let discounts = [modifier(Adjustment::Percentage(Percentage::from_thousandths(12_500).expect("a percentage")))];
    let charge = ChargeTerms { description: "Gym", amount_minor: 2999, quantity: 1, add_ons: &add_ons, discounts: &discounts };
    bencher.bench(|| price(divan::black_box(&charge), 7, Share::WHOLE));
}

#[divan::bench]
fn an_id_and_its_text(bencher: divan::Bencher) {
    let ids = IdSource::seeded([1; 32]);
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
    bencher.bench(|| ids.next::<rebilld::domain::id::Payment>(now).to_string());
}
