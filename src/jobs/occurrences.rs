//! Jobs with a timetable: each of their occurrences is run by one daemon of all on the database.
//!
//! One that nobody ran, since all were down, is run once when the first is up again, however many were missed. One whose daemon
//! dies, or that fails, is taken over when its claim has ended.

use std::{str::FromStr, sync::Arc};

use anyhow::Context;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use croner::{Cron, parser::CronParser, parser::Seconds};
use tokio::sync::Notify;

use super::{Job, pulse::Pulse, run::run};
use crate::billing::{
    App,
    jobs::occurrences::{self, OccurrenceClaim},
};

/// When a job occurs, UTC.
pub struct Timetable(Cron);

impl FromStr for Timetable {
    type Err = anyhow::Error;

    /// Six fields, the first of them seconds.
    fn from_str(expression: &str) -> anyhow::Result<Self> {
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        Ok(Self(parser.parse(expression).with_context(|| format!("{expression} is no timetable"))?))
    }
}

impl Timetable {
    // Occurrences are whole seconds; the parts of a second would be carried on into them.

    /// The latest occurrence by `now`; the same for daemons whose clocks differ, but for a moment around each occurrence.
    pub fn latest(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_previous_occurrence(&now.trunc_subsecs(0), true).ok()
    }

    pub fn after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_next_occurrence(&now.trunc_subsecs(0), false).ok()
    }

    /// The longest time between one occurrence and the next, over as many as show the pattern of a week.
    pub fn longest_gap(&self) -> TimeDelta {
        const MANY: usize = 200;
        let occurrences = std::iter::successors(self.after(DateTime::UNIX_EPOCH), |at| self.after(*at));
        let occurrences: Vec<DateTime<Utc>> = occurrences.take(MANY).collect();
        occurrences.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// Waits for occurrences, and for whoever asks for a run. The schedule only hastens what the next tick would find.
pub(super) async fn answer(app: Arc<App>, job: &'static Job, timetable: Timetable, schedule: Arc<Notify>, pulse: Arc<Pulse>) {
    let tick = app.config.jobs.tick;
    // At start: what was missed.
    let mut next = app.clock.now();
    loop {
        let rung = tokio::select! {
            () = app.stopping.cancelled() => return,
            () = schedule.notified() => true,
            () = tokio::time::sleep(tick) => false,
        };
        if rung || next <= app.clock.now() {
            pulse.busy();
            next = take_turn(&app, job, &timetable).await.unwrap_or_else(|| app.clock.now() + tick);
        }
        pulse.idle();
    }
}

/// Runs what is this daemon's to run; says when to look again, or nothing for the next tick.
pub async fn take_turn(app: &Arc<App>, job: &'static Job, timetable: &Timetable) -> Option<DateTime<Utc>> {
    let now = app.clock.now();
    let asked = app.requested_runs.contains(job.name);
    let taken = match occurrences::take(app, job.name, timetable.latest(now)?, asked).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::warn!(job = job.name, %error, "whose turn it is could not be found out");
            return None;
        }
    };
    if taken == OccurrenceClaim::Done {
        // Another daemon may have run it. A daemon that still runs it has not ended it: that run may hang.
        app.last_runs.ended(job.name, now, job.late_after());
    }
    match taken {
        OccurrenceClaim::Done => timetable.after(now),
        // Once more after that one.
        OccurrenceClaim::UnderWay(_) if asked => None,
        OccurrenceClaim::UnderWay(until) => Some(until),
        OccurrenceClaim::Ours => {
            let well = tokio::select! {
                ran = run(app, job, now) => ran.is_some(),
                never = occurrences::keep(app, job.name) => match never {},
            };
            if well && let Err(error) = occurrences::finish(app, job.name).await {
                tracing::warn!(job = job.name, %error, "the run is done and could not be marked so; it is repeated when its lease ends");
                return None;
            }
            if well { timetable.after(now) } else { None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::{JOBS, JobSchedule};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn daemons_whose_clocks_differ_mean_the_same_occurrence() {
        let hourly: Timetable = "0 7 * * * *".parse().expect("a timetable");
        for now in ["2026-03-29T01:07:00Z", "2026-03-29T01:07:04.5Z", "2026-03-29T02:06:59.999999Z"] {
            assert_eq!(hourly.latest(at(now)), Some(at("2026-03-29T01:07:00Z")), "{now}");
            assert_eq!(hourly.after(at(now)), Some(at("2026-03-29T02:07:00Z")), "{now}");
        }
        let daily: Timetable = "30 0 4 * * *".parse().expect("a timetable");
        assert_eq!(daily.latest(at("2027-01-01T00:00:00Z")), Some(at("2026-12-31T04:00:30Z")));
    }

    #[test]
    fn every_timetable_in_the_table_can_be_read() {
        for job in JOBS {
            if let JobSchedule::Cron(expression) = job.schedule {
                let timetable: Timetable = expression.parse().expect(job.name);
                assert!(timetable.latest(at("2026-01-01T00:00:00Z")).is_some(), "{} never occurs", job.name);
            }
        }
        assert!("7 * * * *".parse::<Timetable>().is_err(), "without seconds");
    }

    #[test]
    fn a_job_is_late_by_its_own_timetable() {
        let late_after = |name: &str| crate::jobs::job(name).expect("a job").late_after();
        assert_eq!(late_after("collection"), TimeDelta::hours(2), "it ticks");
        assert_eq!(late_after("invariants"), TimeDelta::hours(2), "every five minutes");
        assert_eq!(late_after("disputes"), TimeDelta::hours(12), "every six hours");
        let weekdays: Timetable = "0 0 8 * * 1-5".parse().expect("a timetable");
        assert_eq!(weekdays.longest_gap(), TimeDelta::days(3), "from Friday to Monday");
    }
}
