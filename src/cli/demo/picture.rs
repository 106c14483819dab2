//! What the demo looks like: a bar while the year passes, the table by month, and what to try next.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, Datelike, NaiveDate, Utc};

use super::endpoint::Endpoint;
use crate::{
    domain::{count, money::Currency},
    store::reports::Figures,
};

const BAR_WIDTH: usize = 40;
const POLL: Duration = Duration::from_millis(100);

/// Follows a clock while it advances: draws a bar on a terminal, prints a line for each month elsewhere.
pub async fn watch(api: &Endpoint, clock: &str, from: NaiveDate, to: NaiveDate) -> anyhow::Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let mut said = None;
    loop {
        let answer = api.get(&format!("/v1/clocks/{clock}")).await?;
        let now: DateTime<Utc> = answer["now"].as_str().and_then(|now| now.parse().ok()).context("a clock has a now")?;
        let arrived = answer["status"] == "idle";
        let date = now.date_naive().min(to);
        let month = (date.year(), date.month());
        let payments = answer["counts"]["payments"].as_i64().unwrap_or(0);
        if terminal {
            print!("\r{}\x1b[K", bar(from, date, to, payments));
            std::io::stdout().flush()?;
        } else if said != Some(month) {
            said = Some(month);
            println!("{} … {payments} payments so far", date.format("%B %Y"));
        }
        if arrived {
            println!();
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

pub fn bar(from: NaiveDate, date: NaiveDate, to: NaiveDate, payments: i64) -> String {
    let (gone, all) = ((date - from).num_days(), (to - from).num_days().max(1));
    // Before its start the bar is empty.
    let full = usize::try_from(gone * count(BAR_WIDTH) / all).unwrap_or(0).min(BAR_WIDTH);
    let empty = BAR_WIDTH - full;
    let month = date.format("%B %Y").to_string();
    format!("{month:>14}  {}{}  {:>3} %  {payments:>4} payments", "█".repeat(full), "░".repeat(empty), gone * 100 / all)
}

/// A row for each month and currency with figures, one row for a month without,
/// and a row of sums for each currency; `all` names the sums.
pub fn table(months: &[(NaiveDate, BTreeMap<Currency, Figures>)], fallback: Currency, all: &str) -> String {
    let mut currencies: Vec<Currency> = months.iter().flat_map(|(_, figures)| figures.keys().copied()).collect();
    currencies.sort();
    currencies.dedup();
    if currencies.is_empty() {
        currencies.push(fallback);
    }
    let quiet = if currencies.contains(&fallback) { fallback } else { currencies[0] };
    let line = |name: &str, f: &Figures, currency: Currency| {
        let total = currency.major(f.total);
        format!("{name:<8} {:>8} {:>9} {:>10} {:>6} {total:>13} {currency}", f.charges, f.declines, f.recovered, f.lost)
    };
    let mut lines =
        vec![format!("{:<8} {:>8} {:>9} {:>10} {:>6} {:>13}", "month", "charges", "declines", "recovered", "lost", "total")];
    let mut sums: BTreeMap<Currency, Figures> = BTreeMap::new();
    for (month, figures) in months {
        let mut told: Vec<Currency> =
            figures.iter().filter(|(_, f)| **f != Figures::default()).map(|(currency, _)| *currency).collect();
        if told.is_empty() {
            told.push(quiet);
        }
        for currency in &told {
            let f = figures.get(currency).copied().unwrap_or_default();
            lines.push(line(&month.format("%Y-%m").to_string(), &f, *currency));
            let sum = sums.entry(*currency).or_default();
            sum.charges += f.charges;
            sum.declines += f.declines;
            sum.recovered += f.recovered;
            sum.lost += f.lost;
            sum.total += f.total;
        }
    }
    lines.extend(sums.iter().map(|(currency, sum)| line(all, sum, *currency)));
    lines.join("\n")
}

/// Lines to copy into another terminal.
pub fn next_steps(url: &str, key: &str, sandbox: &str, clock: &str, customer: &str) -> String {
    format!(
        "\nThe daemon stays up until Ctrl-C:\n  url  {url}\n  key  {key}\n\nTry next:\n\
         # what this customer was charged, with a decline that was made good\n\
         curl -s -H 'Authorization: Bearer {key}' '{url}/v1/payments?customer_id={customer}'\n\
         # the latest subscriptions\n\
         curl -s -H 'Authorization: Bearer {key}' '{url}/v1/subscriptions?limit=3'\n\
         # a last day of each month, computed from the anchor\n\
         curl -s -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' '{url}/v1/schedules/preview' \\\n  \
           -d '{{\"start_date\": \"2027-01-31\", \"billing_frequency\": \"monthly\", \"billing_days\": \"31\", \"count\": 6}}'\n\
         # another month passes\n\
         curl -s -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' '{url}/v1/clocks/{clock}/advance?wait=true' -d '{{\"by\": \"1mo\"}}'\n\
         # the gateway's own ledger\n\
         curl -s '{sandbox}/_sandbox/ledger?limit=3'\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_runs_from_empty_to_full() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("date");
        let (from, to) = (date("2026-01-01"), date("2027-01-01"));
        assert_eq!(bar(from, from, to, 0), format!("  January 2026  {}    0 %     0 payments", "░".repeat(40)));
        assert_eq!(bar(from, to, to, 7), format!("  January 2027  {}  100 %     7 payments", "█".repeat(40)));
    }

    #[test]
    fn a_month_without_anything_still_has_its_row() {
        let month = |n| NaiveDate::from_ymd_opt(2026, n, 1).expect("date");
        let figures = Figures { charges: 2, declines: 1, recovered: 1, lost: 0, total: 1234 };
        let months = [(month(1), BTreeMap::new()), (month(2), BTreeMap::from([(Currency::USD, figures)]))];
        let text = table(&months, Currency::USD, "year");
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[1].starts_with("2026-01 ") && rows[1].ends_with("0.00 USD"), "{text}");
        assert_eq!(rows[2].split_whitespace().collect::<Vec<_>>(), ["2026-02", "2", "1", "1", "0", "12.34", "USD"]);
        assert!(rows[3].starts_with("year ") && rows.len() == 4, "{text}");
        let both = BTreeMap::from([(Currency::USD, figures), ("EUR".parse().expect("currency"), figures)]);
        let text = table(&[(month(1), BTreeMap::new()), months[1].clone(), (month(3), both)], Currency::USD, "year");
        let ends: Vec<String> = text.lines().skip(1).map(|row| format!("{} {}", &row[..7], &row[row.len() - 3..])).collect();
        assert_eq!(ends, ["2026-01 USD", "2026-02 USD", "2026-03 EUR", "2026-03 USD", "year    EUR", "year    USD"]);
    }
}
