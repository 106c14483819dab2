//! A plan adds up after any sequence of operations.

use super::*;

/// What an operator, the bill run or a gateway does; the numbers are folded onto what is there.
#[derive(Debug, Clone)]
enum Operation {
    Pass { days: u64 },
    Change { number: i64, days: Option<i64>, amount: Option<i64>, even: bool },
    Split { number: i64, shares: Vec<i64>, days: i64 },
    PayEarly { number: i64 },
    PayOff,
    Skip { cycles: i64 },
    Reschedule { days: i64 },
    Restore { arrears: Arrears },
    Pay { invoice: usize },
    Fail { invoice: usize },
    Cancel,
}

fn operation() -> impl Strategy<Value = Operation> {
    let days = proptest::option::of(-5i64..400);
    let amount = proptest::option::of(-10i64..20_000);
    prop_oneof![
        3 => (1u64..60).prop_map(|days| Operation::Pass { days }),
        6 => (0i64..15, days, amount, any::<bool>()).prop_map(|(number, days, amount, even)| Operation::Change { number, days, amount, even }),
        4 => (0i64..15, proptest::collection::vec(0i64..500, 0..5), -2i64..90)
            .prop_map(|(number, shares, days)| Operation::Split { number, shares, days }),
        2 => (0i64..15).prop_map(|number| Operation::PayEarly { number }),
        1 => Just(Operation::PayOff),
        3 => (0usize..10).prop_map(|invoice| Operation::Pay { invoice }),
        4 => (0usize..10).prop_map(|invoice| Operation::Fail { invoice }),
        2 => (0i64..5).prop_map(|cycles| Operation::Skip { cycles }),
        2 => (-2i64..90).prop_map(|days| Operation::Reschedule { days }),
        4 => proptest::sample::select(Arrears::ALL).prop_map(|arrears| Operation::Restore { arrears }),
        1 => Just(Operation::Cancel),
    ]
}

struct Life {
    schedule: InstallmentSchedule,
    now: DateTime<Utc>,
    invoices: Vec<InvoiceId>,
}

impl Life {
    fn invoice(&mut self, numbers: &[i64]) {
        if !numbers.is_empty() {
            let id = InvoiceId::from_bits(self.invoices.len() as u128 + 1);
            self.invoices.push(id);
            self.schedule.invoiced(numbers, id, false, self.now);
        }
    }

    fn end(&mut self, invoice: usize, status: InstallmentStatus) {
        let Some(&id) = self.invoices.get(invoice) else { return };
        let mut ended = false;
        for part in self
            .schedule
            .installments
            .iter_mut()
            .filter(|part| part.invoice_id == Some(id) && part.status == InstallmentStatus::Due)
        {
            part.status = status;
            ended = true;
        }
        if ended {
            if status == InstallmentStatus::Paid {
                self.schedule.plan.succeed(self.now);
            } else {
                self.schedule.plan.fail(self.now);
            }
            let (owed, paid) = self.schedule.standing();
            self.schedule.plan.settle(owed, paid, self.now);
        }
    }

    fn go(&mut self, operation: &Operation, rules: &Rules) {
        let moment = Moment { now: self.now, rules };
        let today = self.schedule.plan.today(self.now);
        let in_days = |days: i64| today + chrono::TimeDelta::days(days);
        match operation {
            Operation::Pass { days } => {
                self.now = self.now + Days::new(*days);
                for number in self.schedule.due(self.now) {
                    self.invoice(&[number]);
                }
            }
            Operation::Change { number, days, amount, even } => {
                let spread = if *even { Spread::Even } else { Spread::Last };
                let _ = self.schedule.change(*number, days.map(in_days), *amount, spread, moment);
            }
            Operation::Split { number, shares, days } => {
                let whole = self.schedule.installments.iter().find(|part| part.number == *number).map_or(0, |part| part.amount);
                let mut parts: Vec<_> = shares.iter().map(|share| (in_days(*days), *share)).collect();
                parts.push((in_days(days + 1), whole - shares.iter().sum::<i64>()));
                let _ = self.schedule.split(*number, &parts, moment);
            }
            Operation::PayEarly { number } => {
                if self.schedule.payable(*number).is_ok_and(|part| part.status == InstallmentStatus::Scheduled) {
                    self.invoice(&[*number]);
                }
            }
            Operation::PayOff => {
                let scheduled = self.schedule.scheduled().unwrap_or_default();
                self.invoice(&scheduled);
            }
            Operation::Skip { cycles } => drop(self.schedule.skip(*cycles, moment)),
            Operation::Reschedule { days } => drop(self.schedule.reschedule(in_days(*days), moment)),
            Operation::Restore { arrears } => {
                if self.schedule.restore(*arrears, moment).is_ok() && *arrears == Arrears::Collect {
                    for invoice in &self.invoices {
                        self.schedule.reopened(*invoice);
                    }
                }
            }
            Operation::Pay { invoice } => self.end(*invoice, InstallmentStatus::Paid),
            Operation::Fail { invoice } => self.end(*invoice, InstallmentStatus::Failed),
            Operation::Cancel => {
                let _ = self.schedule.cancel(&[], self.now);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_plan_adds_up_after_any_sequence_of_operations(
        amount in 20i64..100_000, down in 0i64..10, count in 1usize..12, operations in proptest::collection::vec(operation(), 1..40),
    ) {
        let rules = rules();
        let mut life = Life { schedule: monthly(amount, down, count), now: at("2026-01-01T00:00:00Z"), invoices: Vec::new() };
        for operation in &operations {
            let before = life.schedule.clone();
            life.go(operation, &rules);
            let schedule = &life.schedule;
            prop_assert_eq!(schedule.check(), Ok(()), "{:?}", operation);
            let totals = schedule.totals();
            prop_assert_eq!(totals.scheduled + totals.due + totals.paid + totals.failed + totals.cancelled, amount);
            prop_assert!(schedule.plan.status == InstallmentPlanStatus::Cancelled || totals.cancelled == 0);
            prop_assert_eq!(schedule.plan.due_at.is_some(), schedule.plan.status == InstallmentPlanStatus::Open && totals.scheduled > 0);
            // What is invoiced is out of reach.
            for old in before.installments.iter().filter(|part| part.invoice_id.is_some()) {
                let new = schedule.installments.iter().find(|part| part.number == old.number).expect("never removed");
                prop_assert_eq!((new.invoice_id, new.amount, new.date), (old.invoice_id, old.amount, old.date));
            }
            prop_assert!(schedule.plan.status != InstallmentPlanStatus::Paid || totals.paid == amount);
            let moved = |status: InstallmentStatus| status == InstallmentStatus::Moved;
            prop_assert!(before.installments.iter().zip(&schedule.installments).all(|(old, new)| !moved(old.status) || moved(new.status)));
            let restores = matches!(operation, Operation::Restore { .. });
            prop_assert!(restores || before.totals().moved == totals.moved);
        }
    }

    #[test]
    fn equal_parts_differ_by_less_than_their_number(amount in 1i64..1_000_000, count in 1usize..200) {
        match equal_parts(amount, count) {
            None => prop_assert!(amount < crate::domain::count(count)),
            Some(parts) => {
                prop_assert_eq!(parts.iter().sum::<i64>(), amount);
                prop_assert!(parts.iter().all(|part| *part >= 1));
                prop_assert!(parts[count - 1] - parts[0] < crate::domain::count(count));
            }
        }
    }

    #[test]
    fn a_down_payment_by_percent_and_the_rest_are_the_total(amount in 2i64..1_000_000, thousandths in 0i64..99_000, count in 1usize..13) {
        let down = crate::domain::money::Percentage::from_thousandths(thousandths).expect("percent").of(amount);
        if let Some(parts) = equal_parts(amount - down, count) {
            prop_assert_eq!(down + parts.iter().sum::<i64>(), amount);
        }
    }
}
