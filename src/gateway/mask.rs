//! What looks like a card number is made unreadable before anybody reads it.

/// Runs of 13 digits or more, also when grouped by single spaces or dashes, become `****`.
pub(super) fn card_numbers(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        if !chars[at].is_ascii_digit() {
            masked.push(chars[at]);
            at += 1;
            continue;
        }
        let (mut end, mut digits) = (at, 0);
        while end < chars.len() {
            if chars[end].is_ascii_digit() {
                digits += 1;
            } else if !(matches!(chars[end], ' ' | '-') && chars.get(end + 1).is_some_and(char::is_ascii_digit)) {
                break;
            }
            end += 1;
        }
        if digits >= 13 {
            masked.push_str("****");
        } else {
            masked.extend(&chars[at..end]);
        }
        at = end;
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteen_digits_are_a_card_and_twelve_are_none() {
        assert_eq!(card_numbers("123456789012"), "123456789012");
        assert_eq!(card_numbers("1234567890123"), "****");
    }
}
