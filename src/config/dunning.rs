//! The settings of dunning: policies, the ladder where no policy applies, caps on declined attempts.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{CollectionConfig, Config};
use crate::domain::{
    cap::Cap,
    dunning::{ByClass, DunningRules, FinalAction, Step},
};

/// One policy, `[dunning.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DunningConfig {
    pub steps: Vec<Step>,
    #[serde(default)]
    pub by_class: ByClass,
    /// None: `collection.final_action`.
    #[serde(default)]
    pub final_action: Option<FinalAction>,
}

/// How many declined attempts are allowed within each length of time; 0 = any number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps(pub BTreeMap<TimeDelta, u32>);

impl<'de> Deserialize<'de> for Caps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut caps = BTreeMap::new();
        for (window, declines) in BTreeMap::<String, u32>::deserialize(deserializer)? {
            let length = humantime_serde::re::humantime::parse_duration(&window).ok();
            let length = length.and_then(|length| TimeDelta::from_std(length).ok()).filter(|length| !length.is_zero());
            let Some(length) = length.filter(|length| *length <= MAX_WINDOW) else {
                return Err(D::Error::custom(format!("must be by times such as 24h or 30d, up to 365d, not {window:?}")));
            };
            if caps.insert(length, declines).is_some() {
                return Err(D::Error::custom(format!("names one time twice: {window}")));
            }
        }
        Ok(Self(caps))
    }
}

const MAX_WINDOW: TimeDelta = TimeDelta::days(365);

impl CollectionConfig {
    /// The ladder where no policy applies.
    pub fn dunning_rules(&self) -> DunningRules {
        DunningRules::of_days(&self.retry_days, self.final_action)
    }
}

impl Config {
    /// The policies by name.
    pub fn policies(&self) -> BTreeMap<&str, DunningRules> {
        let dunning_rules = |policy: &DunningConfig| DunningRules {
            steps: policy.steps.clone(),
            by_class: policy.by_class.clone(),
            final_action: policy.final_action.unwrap_or(self.collection.final_action),
        };
        self.dunning.iter().map(|(name, policy)| (name.as_str(), dunning_rules(policy))).collect()
    }

    /// The caps at a gateway: the gateway's own override the common ones.
    pub fn caps_of(&self, gateway: &str) -> Vec<Cap> {
        let mut caps = self.collection.caps.clone();
        caps.0.extend(self.gateways.get(gateway).iter().flat_map(|gateway| &gateway.caps.0));
        let limits = caps.0.into_iter().filter(|(_, declines)| *declines > 0);
        limits.map(|(within, declines)| Cap { within, declines: declines as usize }).collect()
    }
}
