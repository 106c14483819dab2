//! Figures for people and programs: medians, percentiles, one table and one line of JSON.

#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "rates and ratios of measured times; no money"
)]

use std::{io::Write, time::Duration};

use serde_json::{Map, Value};

/// The middle value, or the mean of the two middle values. 0 for no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The smallest value that this percentage of the values does not exceed. 0 for no values.
pub fn percentile(values: &[f64], hundredths: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

pub fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

/// (time per bare call + time per bare row set) / time per renewal.
pub fn efficiency(bare_http_per_s: f64, bare_db_per_s: f64, renewals_per_s: f64) -> f64 {
    renewals_per_s * (1.0 / bare_http_per_s.max(1e-9) + 1.0 / bare_db_per_s.max(1e-9))
}

/// What was measured, in the order in which it is printed.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<(&'static str, Value, &'static str)>,
}

impl Report {
    pub fn add(&mut self, key: &'static str, value: impl Into<Value>, about: &'static str) {
        self.lines.push((key, value.into(), about));
    }

    /// Adds a figure with four significant digits, which is more than a second run confirms.
    pub fn figure(&mut self, key: &'static str, value: f64, about: &'static str) {
        self.add(key, rounded(value), about);
    }

    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if !json {
            let width = self.lines.iter().map(|line| line.0.len()).max().unwrap_or(0);
            for (key, value, about) in &self.lines {
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                writeln!(out, "  {key:<width$}  {shown:>12}  {about}")?;
            }
        }
        let all: Map<String, Value> = self.lines.iter().map(|(key, value, _)| ((*key).to_owned(), value.clone())).collect();
        writeln!(out, "{}", Value::Object(all))?;
        Ok(())
    }
}

fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    if scale <= 1.0 { value.round() } else { (value * scale).round() / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles_and_percentiles() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(median(&[3.0, 1.0, 2.0]), 2.0) && close(median(&[4.0, 1.0]), 2.5) && close(median(&[]), 0.0));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!(close(percentile(&hundred, 99), 99.0) && close(percentile(&hundred, 50), 50.0));
        assert!(close(percentile(&[7.0], 99), 7.0) && close(percentile(&[], 50), 0.0));
        // A renewal that takes as long as its bare parts one after the other.
        assert!(close(efficiency(1000.0, 1000.0, 500.0), 1.0));
    }

    #[test]
    fn figures_keep_four_digits() {
        for (value, shown) in [(1234.567, 1235.0), (0.012_345_6, 0.012_35), (98_765.4, 98_765.0), (0.0, 0.0)] {
            assert!((rounded(value) - shown).abs() < 1e-9, "{value}");
        }
    }
}
