//! Tells card numbers from ids and dates, so that a text with a card number is refused wherever it turns up.

/// Whether a text holds what looks like a card number: 13 to 19 digits (blanks and dashes between them do not matter) that
/// begin as issued cards do and pass the Luhn check. Whoever finds such a text must refuse it and never store it.
///
/// Gateways' ids are words of letters and digits, FluidPay's of 20 characters and Paylike's of 24, and such runs of digits do
/// appear in them by chance. A word too long for a card number that has letters is an id.
pub fn looks_like_card_number(text: &str) -> bool {
    let is_id = |word: &&str| word.len() > 19 && word.bytes().any(|byte| byte.is_ascii_alphabetic());
    let ids: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_id).collect();
    let text = ids.into_iter().fold(text.to_owned(), |text, id| text.replace(id, "x"));
    let mut run: Vec<u32> = Vec::new();
    let ends_as_card = |run: &[u32]| (13..=19).contains(&run.len()) && is_issued(run) && luhn(run);
    for c in text.chars() {
        match c.to_digit(10) {
            Some(digit) => run.push(digit),
            None if matches!(c, ' ' | '-') => {}
            None => {
                if ends_as_card(&run) {
                    return true;
                }
                run.clear();
            }
        }
    }
    ends_as_card(&run)
}

/// Card numbers begin with 3 to 6, or with 2221 to 2720; two dates written together begin with 19 or 20.
fn is_issued(digits: &[u32]) -> bool {
    let first_four = digits.iter().take(4).fold(0, |sum, digit| sum * 10 + digit);
    (3000..=6999).contains(&first_four) || (2221..=2720).contains(&first_four)
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &digit)| match (i % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_recognised_and_tokens_are_not() {
        for card in
            ["4111111111111111", "4111 1111 1111 1111", "card 5555-5555-5555-4444 please", "378282246310005", "2223003122003222"]
        {
            assert!(looks_like_card_number(card), "{card}");
        }
        for fine in [
            "b798ls2q9qq646ksu070",
            "4111111111111112",
            "560fd96b7973ff3d2362a78c",
            "2026-11-21",
            "2026-11-01 - 2026-12-09",
            "+1 630 555 5555",
            "approve0000000000000",
            "6a4111111111111111b2362a",
            "",
        ] {
            assert!(!looks_like_card_number(fine), "{fine}");
        }
    }
}
