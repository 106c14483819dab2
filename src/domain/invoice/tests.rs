//! Tables for pricing: what percentages are of, when modifiers end, where rounding happens, what a stub costs.

use super::*;

fn modifier(id: &str, adjustment: Adjustment, duration: i64) -> Modifier {
    Modifier { id: id.to_owned(), name: format!("{id} name"), description: String::new(), adjustment, duration, applied_from: 0 }
}

fn amount(id: &str, minor: i64, duration: i64) -> Modifier {
    modifier(id, Adjustment::Amount(minor), duration)
}

fn percent(id: &str, text: &str, duration: i64) -> Modifier {
    modifier(id, Adjustment::Percentage(text.parse().expect("percentage")), duration)
}

fn charge<'a>(amount_minor: i64, quantity: i64, add_ons: &'a [Modifier], discounts: &'a [Modifier]) -> ChargeTerms<'a> {
    ChargeTerms { description: "Gold", amount_minor, quantity, add_ons, discounts }
}

fn amounts(lines: &[Line]) -> Vec<(LineKind, i64)> {
    lines.iter().map(|line| (line.kind, line.amount)).collect()
}

#[test]
fn percentages_are_of_the_base_charge_and_not_of_each_other() {
    let (add_ons, discounts) = ([amount("a", 500, 0), percent("b", "10", 0)], [percent("c", "50", 0), amount("d", 25, 0)]);
    let lines = price(&charge(1000, 3, &add_ons, &discounts), 0, Share::WHOLE);
    let expected = [
        (LineKind::Base, 3000),
        (LineKind::AddOn, 500),
        (LineKind::AddOn, 300),
        (LineKind::Discount, -1500),
        (LineKind::Discount, -25),
    ];
    assert_eq!(amounts(&lines), expected);
    assert_eq!(subtotal(&lines), 2275);
    assert_eq!((total_of(&add_ons, 3000, 0), total_of(&discounts, 3000, 0)), (800, 1525));
}

#[test]
fn a_modifier_ends_after_its_duration_and_starts_when_it_was_added() {
    let mut late = amount("late", 7, 2);
    late.applied_from = 5;
    let modifiers = [amount("always", 1, 0), amount("thrice", 10, 3), late];
    let totals: Vec<i64> = (0..9).map(|cycle| total_of(&modifiers, 0, cycle)).collect();
    assert_eq!(totals, [11, 11, 11, 1, 1, 8, 8, 1, 1]);
    let shown = |cycle| price(&charge(100, 1, &[], &modifiers[1..2]), cycle, Share::WHOLE).len();
    assert_eq!((shown(2), shown(3)), (2, 1), "an ended discount leaves no line");
}

#[test]
fn discounts_beyond_the_charge_are_not_paid_out() {
    let discounts = [percent("half", "50", 0), amount("big", 2000, 1)];
    let lines = price(&charge(1000, 1, &[], &discounts), 0, Share::WHOLE);
    assert_eq!(amounts(&lines).last(), Some(&(LineKind::Floor, 1500)));
    assert_eq!(subtotal(&lines), 0);
    let exact = price(&charge(1000, 1, &[], &[percent("all", "100", 0)]), 0, Share::WHOLE);
    assert_eq!((exact.len(), subtotal(&exact)), (2, 0), "exactly free needs no floor");
}

#[test]
fn each_line_rounds_once_and_half_away_from_zero() {
    let whole = price(&charge(1004, 1, &[percent("a", "12.5", 0)], &[percent("d", "12.5", 0)]), 0, Share::WHOLE);
    assert_eq!(amounts(&whole), [(LineKind::Base, 1004), (LineKind::AddOn, 126), (LineKind::Discount, -126)]);
    // A sixth of 2.5 is 0.42: rounding to 3 first and then a sixth of that, 0.5, to 1 would charge a unit too much.
    let stub = price(&charge(5, 1, &[percent("a", "50", 0)], &[percent("d", "50", 0)]), 0, Share::new(1, 6));
    assert_eq!(amounts(&stub), [(LineKind::Base, 1), (LineKind::AddOn, 0), (LineKind::Discount, 0)]);
}

#[test]
fn a_stub_shows_its_days_on_every_line() {
    let (add_ons, discounts) = ([amount("a", 101, 0)], [percent("d", "10", 0)]);
    let lines = price(&charge(2800, 1, &add_ons, &discounts), 0, Share::new(14, 28));
    assert_eq!(amounts(&lines), [(LineKind::Base, 1400), (LineKind::AddOn, 51), (LineKind::Discount, -140)]);
    assert!(lines.iter().all(|line| (line.days, line.of_days) == (Some(14), Some(28))));
    let whole = price(&charge(2800, 1, &add_ons, &discounts), 0, Share::new(28, 28));
    assert!(whole.iter().all(|line| (line.days, line.of_days) == (None, None)));
}

#[test]
fn absurd_terms_saturate_and_never_panic() {
    let add_ons = [modifier("a", Adjustment::Percentage(Percentage::from_thousandths(1_000_000).expect("percentage")), 0)];
    let discounts = [amount("d", i64::MAX, 0), amount("e", i64::MIN, i64::MAX), amount("f", i64::MAX, i64::MIN)];
    for minor in [0, 1, -1, MAX_AMOUNT_MINOR, i64::MAX, i64::MIN] {
        for quantity in [0, 1, -1, 1_000_000, i64::MAX, i64::MIN] {
            for share in [
                Share::WHOLE,
                Share { days: 1, of: i64::MAX },
                Share { days: i64::MAX - 1, of: i64::MAX },
                Share { days: -3, of: 0 },
            ] {
                for cycle in [0, i64::MAX, i64::MIN] {
                    let lines = price(&charge(minor, quantity, &add_ons, &discounts), cycle, share);
                    assert!(subtotal(&lines) >= 0);
                    total_of(&discounts, minor, cycle);
                }
            }
        }
    }
}

#[test]
fn the_largest_accepted_charge_is_exact() {
    let add_ons = [percent("a", "1000", 0)];
    let lines = price(&charge(MAX_AMOUNT_MINOR, 1, &add_ons, &[]), 0, Share::WHOLE);
    assert_eq!(subtotal(&lines), MAX_AMOUNT_MINOR * 11);
    let lines = price(&charge(MAX_AMOUNT_MINOR, 1, &add_ons, &[]), 0, Share::new(364, 365));
    let exact = i128::from(MAX_AMOUNT_MINOR) * 10 * 364;
    assert_eq!(i128::from(lines[1].amount), (exact + 182) / 365);
}

#[test]
fn json_has_amount_and_percentage_side_by_side() {
    let json = serde_json::to_value(percent("disc_1", "12.5", 3)).expect("json");
    let expected = serde_json::json!({
        "id": "disc_1", "name": "disc_1 name", "description": "", "amount": null, "percentage": 12.5,
        "duration": 3, "applied_from": 0
    });
    assert_eq!(json, expected);
    let read = |json: serde_json::Value| serde_json::from_value::<Modifier>(json);
    assert_eq!(read(expected).expect("modifier"), percent("disc_1", "12.5", 3));
    let bare = read(serde_json::json!({"id": "a", "name": "a name", "amount": 5})).expect("modifier");
    assert_eq!(bare, amount("a", 5, 0));
    for bad in [serde_json::json!({"id": "a"}), serde_json::json!({"id": "a", "amount": 1, "percentage": 1})] {
        assert!(read(bad).expect_err("both or neither").to_string().contains("exactly one of amount and percentage"));
    }
}

#[test]
fn a_line_says_only_what_it_knows() {
    let line = Line::new(LineKind::Credit, "Credit", -5);
    assert_eq!(serde_json::to_string(&line).expect("json"), r#"{"kind":"credit","description":"Credit","amount":-5}"#);
    let lines = price(&charge(100, 2, &[percent("a", "1.5", 0)], &[]), 0, Share::new(1, 2));
    let json = serde_json::to_string(&lines).expect("json");
    let expected = concat!(
        r#"[{"kind":"base","description":"Gold","amount":100,"quantity":2,"unit_amount":100,"days":1,"of_days":2},"#,
        // What the add-on comes to for the whole period stands beside its share.
        r#"{"kind":"add_on","description":"a name","amount":2,"unit_amount":3,"percentage":1.5,"modifier_id":"a","days":1,"of_days":2}]"#
    );
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Vec<Line>>(&json).expect("lines"), lines);
}
