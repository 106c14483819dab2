//! Invoice lines against plain rational arithmetic: they sum to the subtotal, round once and are never negative together.

use proptest::{collection::vec, prelude::*};
use rebilld::domain::{
    invoice::{Adjustment, ChargeTerms, Line, LineKind, Modifier, price, subtotal, total_of},
    money::{MAX_AMOUNT_MINOR, Percentage},
    proration::Share,
};

fn modifiers() -> impl Strategy<Value = Vec<Modifier>> {
    let minor = prop_oneof![0i64..10_000, 0..=MAX_AMOUNT_MINOR];
    let thousandths = prop_oneof![0i64..=100_000, 0i64..=1_000_000];
    let adjustment = prop_oneof![
        minor.prop_map(Adjustment::Amount),
        thousandths.prop_map(|t| Adjustment::Percentage(Percentage::from_thousandths(t).expect("percentage"))),
    ];
    let one = (adjustment, 0i64..5, 0i64..5).prop_map(|(adjustment, duration, applied_from)| Modifier {
        id: "id".to_owned(),
        name: "name".to_owned(),
        description: String::new(),
        adjustment,
        duration,
        applied_from,
    });
    vec(one, 0..6)
}

fn shares() -> impl Strategy<Value = Share> {
    prop_oneof![Just(Share::WHOLE), (1i64..400).prop_flat_map(|of| (0..=of).prop_map(move |days| Share { days, of }))]
}

/// numerator / denominator to the nearest whole, halves away from zero, by trying: no formula of the code's own.
fn is_nearest(rounded: i64, numerator: i128, denominator: i128) -> bool {
    let twice_off = 2 * (numerator - i128::from(rounded) * denominator);
    twice_off.abs() < denominator || (twice_off.abs() == denominator && twice_off.signum() != numerator.signum())
}

fn is_share_of(line: &Line, modifier: &Modifier, sign: i128, base: i128, share: Share) -> bool {
    let (numerator, denominator) = match modifier.adjustment {
        Adjustment::Amount(minor) => (i128::from(minor), 1),
        Adjustment::Percentage(percentage) => (base * i128::from(percentage.thousandths()), 100_000),
    };
    is_nearest(line.amount, sign * numerator * i128::from(share.days), denominator * i128::from(share.of))
}

fn applies(modifier: &Modifier, cycle: i64) -> bool {
    let first = modifier.applied_from;
    if modifier.duration == 0 { cycle >= first } else { (first..first + modifier.duration).contains(&cycle) }
}

proptest! {
    #![proptest_config(super::config(1500))]

    #[test]
    fn lines_sum_to_the_subtotal_and_never_below_zero(
        amount_minor in prop_oneof![0i64..5_000, 0..=MAX_AMOUNT_MINOR / 1000], quantity in 0i64..1000,
        add_ons in modifiers(), discounts in modifiers(), cycle in 0i64..9, share in shares(),
    ) {
        let charge = ChargeTerms { description: "base", amount_minor, quantity, add_ons: &add_ons, discounts: &discounts };
        let lines = price(&charge, cycle, share);
        let sum: i128 = lines.iter().map(|line| i128::from(line.amount)).sum();
        prop_assert_eq!(sum, i128::from(subtotal(&lines)));
        prop_assert!(sum >= 0);

        let base = i128::from(amount_minor) * i128::from(quantity);
        prop_assert_eq!(lines[0].kind, LineKind::Base);
        prop_assert!(is_nearest(lines[0].amount, base * i128::from(share.days), i128::from(share.of)));

        let mut rest = lines[1..].iter();
        for (kind, sign, modifiers) in [(LineKind::AddOn, 1, &add_ons), (LineKind::Discount, -1, &discounts)] {
            for modifier in modifiers.iter().filter(|modifier| applies(modifier, cycle)) {
                let line = rest.next().expect("a line for each modifier that applies");
                prop_assert_eq!(line.kind, kind);
                prop_assert!(is_share_of(line, modifier, sign, base, share), "{:?} {:?}", line, modifier);
                prop_assert_eq!((line.days, line.of_days).0.is_some(), share.days < share.of);
            }
        }
        let floor = rest.next();
        prop_assert_eq!(rest.next(), None);
        if let Some(floor) = floor {
            prop_assert_eq!((floor.kind, sum), (LineKind::Floor, 0));
            prop_assert!(floor.amount > 0);
        }
    }

    #[test]
    fn totals_are_the_sums_of_whole_lines(
        amount_minor in 0..=MAX_AMOUNT_MINOR, add_ons in modifiers(), discounts in modifiers(), cycle in 0i64..9,
    ) {
        let charge = ChargeTerms { description: "base", amount_minor, quantity: 1, add_ons: &add_ons, discounts: &discounts };
        let lines = price(&charge, cycle, Share::WHOLE);
        let of = |kind| lines.iter().filter(|line| line.kind == kind).map(|line| line.amount).sum::<i64>();
        prop_assert_eq!(total_of(&add_ons, amount_minor, cycle), of(LineKind::AddOn));
        prop_assert_eq!(total_of(&discounts, amount_minor, cycle), -of(LineKind::Discount));
    }

    #[test]
    fn two_parts_of_a_period_make_the_whole_to_within_one_unit(minor in -MAX_AMOUNT_MINOR..=MAX_AMOUNT_MINOR, share in shares()) {
        let off = share.of_amount(minor) + share.rest().of_amount(minor) - minor;
        prop_assert!(off.abs() <= 1, "{}", off);
    }
}
