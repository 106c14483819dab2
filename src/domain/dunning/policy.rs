//! A dunning policy as it is written: steps, exceptions by class of decline, the final action. The check names every fault at
//! once.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FinalAction;
use crate::domain::{id::DunningPolicyId, text_enum};

text_enum! {
    /// The ways to tell a customer about a failure. The daemon sends nothing: the event `invoice.dunning` names the channels.
    pub enum Channel {
        /// The customer is told by e-mail.
        Email = "email",
        /// The customer is told by SMS.
        Sms = "sms",
    }
}

text_enum! {
    /// Where a policy is written.
    pub enum PolicySource {
        /// The policy was made by a request, and requests change it.
        Api = "api",
        /// The policy stands in the settings, and only the settings change it.
        Configuration = "configuration",
    }
}

/// A local time of day, as `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime(pub NaiveTime);

/// A text that is no time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time of day such as 06:00")]
pub struct BadTime;

impl FromStr for LocalTime {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        let time = NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| BadTime)?;
        // The parser also takes `6:00`.
        if text.len() == 5 { Ok(Self(time)) } else { Err(BadTime) }
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%H:%M"))
    }
}

impl Serialize for LocalTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LocalTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::domain::from_text(deserializer)
    }
}

/// What follows the nth failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Local calendar days after the first failure. 0 without an hour means at once.
    pub after_days: u32,
    /// Local hour of the day. None means the hour at which bills are run.
    #[serde(default)]
    pub at: Option<LocalTime>,
    /// The ways to tell the customer about the failure that this step follows.
    #[serde(default)]
    pub channels: Vec<Channel>,
    /// Whether the step charges the customer's next stored method that was not tried yet.
    #[serde(default)]
    pub next_method: bool,
}

/// Steps for one class of decline, which take the place of the general steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The steps, in order of their days.
    pub steps: Vec<Step>,
    /// What happens when this ladder ends. None means the policy's final action, and for `try_later` that an operator decides.
    #[serde(default)]
    pub final_action: Option<FinalAction>,
}

/// Exceptions from the general steps, by class of decline. None means that the general steps hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ByClass {
    /// For declines that may pass in some days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft: Option<Override>,
    /// For a passing trouble at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub try_later: Option<Override>,
    /// For cards that will not pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard: Option<Override>,
    /// For declines that only another card helps against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_card_needed: Option<Override>,
}

/// The steps of a policy, without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DunningRules {
    /// The general steps, in order of their days.
    pub steps: Vec<Step>,
    /// Exceptions by class of decline.
    pub by_class: ByClass,
    /// What happens when a ladder ends without the money.
    pub final_action: FinalAction,
}

/// A named policy, as the database has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Policy {
    /// Names the policy.
    pub id: DunningPolicyId,
    /// The merchant's own id, or the name in the settings; requests may use this in place of `id`. None means that there is none.
    pub reference: Option<String>,
    /// For people.
    pub name: String,
    /// The general steps, in order of their days.
    #[sqlx(json)]
    pub steps: Vec<Step>,
    /// Exceptions by class of decline.
    #[sqlx(json)]
    pub by_class: ByClass,
    /// What happens when a ladder ends without the money.
    pub final_action: FinalAction,
    /// Whether the policy holds where neither subscription nor installment plan names one.
    pub is_default: bool,
    /// Where the policy is written, and thus where it can be changed.
    pub source: PolicySource,
    /// UTC.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC.
    pub updated_at: DateTime<Utc>,
}

/// No ladder has more steps than this.
pub const MAX_STEPS: usize = 30;
/// No step stands later than this many days after the first failure.
pub const MAX_DAYS: u32 = 365;

impl Policy {
    /// The steps and the final action, as dunning decides by them.
    pub fn dunning_rules(&self) -> DunningRules {
        DunningRules { steps: self.steps.clone(), by_class: self.by_class.clone(), final_action: self.final_action }
    }
}

impl DunningRules {
    /// Plain retries at so many local days after the first failure, each told by e-mail.
    pub fn of_days(days: &[u32], final_action: FinalAction) -> Self {
        let step = |&after_days: &u32| Step { after_days, at: None, channels: vec![Channel::Email], next_method: false };
        Self { steps: days.iter().map(step).collect(), by_class: ByClass::default(), final_action }
    }

    fn each(&self) -> impl Iterator<Item = (String, &[Step])> {
        let ByClass { soft, try_later, hard, new_card_needed } = &self.by_class;
        let classes = [("soft", soft), ("try_later", try_later), ("hard", hard), ("new_card_needed", new_card_needed)];
        let own = classes
            .into_iter()
            .filter_map(|(name, own)| Some((format!("by_class.{name}.steps"), own.as_ref()?.steps.as_slice())));
        std::iter::once(("steps".to_owned(), self.steps.as_slice())).chain(own)
    }

    /// Whether any step charges another method than the one that failed.
    pub fn uses_next_method(&self) -> bool {
        self.each().any(|(_, steps)| steps.iter().any(|step| step.next_method))
    }

    /// Everything that is wrong: path of the value, and what the value must be. Steps that name no hour stand at `bill_at`.
    pub fn faults(&self, bill_at: NaiveTime) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (path, steps) in self.each() {
            if steps.len() > MAX_STEPS {
                faults.push((path.clone(), format!("must not have more than {MAX_STEPS} steps")));
            }
            let mut before: Option<(u32, Option<NaiveTime>)> = None;
            for (i, step) in steps.iter().enumerate() {
                if step.after_days > MAX_DAYS {
                    faults.push((format!("{path}[{i}].after_days"), format!("must be from 0 to {MAX_DAYS}")));
                }
                // At once comes before any hour of the day.
                let stands = (
                    step.after_days,
                    if step.after_days == 0 { step.at.map(|at| at.0) } else { Some(step.at.map_or(bill_at, |at| at.0)) },
                );
                if before.is_some_and(|before| stands <= before) {
                    faults.push((
                        format!("{path}[{i}].after_days"),
                        "must rise from step to step, or on the same day the hour".to_owned(),
                    ));
                }
                before = Some(stands);
                for (j, channel) in step.channels.iter().enumerate() {
                    if step.channels[..j].contains(channel) {
                        faults.push((format!("{path}[{i}].channels[{j}]"), "is named twice".to_owned()));
                    }
                }
            }
        }
        faults
    }
}
