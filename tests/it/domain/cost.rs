//! The nth date costs the same for n = 1 and n = 10,000. Guards against a schedule that walks there.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use chrono::NaiveDate;
use rebilld::domain::frequency::{Frequency, Recurrence, Schedule};

const FAR: u64 = 10_000;
const ROUNDS: usize = 30;
const CALLS: usize = 50;
/// How much dearer the far slot may look on a busy machine. Whoever walks there is dearer thousands of times.
const GENEROUS: u32 = 40;

/// The least that some calls took, over many rounds: whatever else the machine does only ever adds.
fn least<T>(ask: impl Fn() -> T) -> Duration {
    let round = |_| {
        let begun = Instant::now();
        for _ in 0..CALLS {
            black_box(ask());
        }
        begun.elapsed()
    };
    (0..ROUNDS).map(round).min().expect("rounds")
}

#[test]
fn the_ten_thousandth_slot_costs_what_the_first_does() {
    // Ten thousand years lie before the last one that there is.
    let start = NaiveDate::from_ymd_opt(-1000, 1, 31).expect("date");
    for frequency in Frequency::ALL.into_iter().filter(|&frequency| frequency != Frequency::OneTime) {
        let schedule = Schedule::new(Recurrence::new(frequency, 1, None).expect("recurrence"), start);
        let questions: [(&str, &dyn Fn(u64) -> u64); 4] = [
            ("date", &|slot| u64::from(schedule.date(slot).is_some())),
            ("next_slot", &|slot| schedule.next_slot(slot).unwrap_or(0)),
            ("period", &|slot| u64::from(schedule.period(slot).is_some())),
            ("slot_on_or_after", &|slot| {
                let date = schedule.date(slot).and_then(|date| date.succ_opt()).expect("date");
                schedule.slot_on_or_after(date).unwrap_or(0)
            }),
        ];
        for (name, ask) in questions {
            assert!(ask(black_box(FAR)) > 0, "{frequency} {name}: an answer");
            let (near, far) = (least(|| ask(black_box(1))), least(|| ask(black_box(FAR))));
            assert!(far < near * GENEROUS + Duration::from_micros(1), "{frequency} {name}: {near:?} near, {far:?} far");
        }
    }
}
