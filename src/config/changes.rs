//! Which changes of the settings need a restart. Names keys, never values: some are secret.

use secrecy::ExposeSecret;

use super::{CollectionConfig, Config};

impl Config {
    /// The sections and gateways in which `fresh` differs from the running settings. Leaves out the log level and the dunning
    /// policies, which a reload takes over, and `admin.listen` with port 0, which stands for any free port.
    pub fn changes_needing_restart(&self, fresh: &Self) -> Vec<String> {
        let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
        let (old_url, new_url) = (self.database.url.expose_secret(), fresh.database.url.expose_secret());
        let (old_key, new_key) = (self.admin.bootstrap_key.expose_secret(), fresh.admin.bootstrap_key.expose_secret());
        let listen = fresh.admin.listen.port() != 0 && self.admin.listen != fresh.admin.listen;
        let sections = [
            ("database", old_url != new_url || self.database.max_connections != fresh.database.max_connections),
            ("admin", old_key != new_key || listen || self.admin.public_url != fresh.admin.public_url),
            ("billing", text(&self.billing) != text(&fresh.billing)),
            ("installments", text(&self.installments) != text(&fresh.installments)),
            ("collection", text(&self.collection) != text(&self.reloaded(fresh))),
            ("invariants", text(&self.invariants) != text(&fresh.invariants)),
            ("jobs", text(&self.jobs) != text(&fresh.jobs)),
            ("instance", self.instance.name != fresh.instance.name),
            ("log.format", self.log.format != fresh.log.format),
        ];
        let mut changed: Vec<String> =
            sections.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()).collect();
        let mut names: Vec<&String> = self.gateways.keys().chain(fresh.gateways.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let same = match (self.gateways.get(name), fresh.gateways.get(name)) {
                // The Debug text hides the key, so the key is compared by itself.
                (Some(old), Some(new)) => text(old) == text(new) && old.api_key.expose_secret() == new.api_key.expose_secret(),
                _ => false,
            };
            if !same {
                changed.push(format!("gateways.{name}"));
            }
        }
        changed
    }
}

impl Config {
    /// The collection settings of `fresh`, but the fields that a reload takes over keep their running values.
    fn reloaded(&self, fresh: &Self) -> CollectionConfig {
        let CollectionConfig { retry_days, final_action, dunning_policy, .. } = self.collection.clone();
        CollectionConfig { retry_days, final_action, dunning_policy, ..fresh.collection.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load_from;

    #[test]
    fn changes_are_named_and_secrets_are_compared() {
        let with = |pairs: &[(&str, &str)]| {
            let fluid = [("KIND", "fluidpay"), ("MODE", "test"), ("BASE_URL", "http://127.0.0.1:1"), ("API_KEY", "a")];
            let mut all: Vec<(String, String)> =
                fluid.iter().map(|(key, value)| (format!("REBILLD_GATEWAYS__FLUID__{key}"), (*value).to_owned())).collect();
            for (key, value) in pairs {
                all.retain(|(name, _)| name != key);
                all.push(((*key).to_owned(), (*value).to_owned()));
            }
            load_from(None, all, None).expect("settings")
        };
        let old = with(&[]);
        let changes = |pairs| old.changes_needing_restart(&with(pairs));
        assert!(changes(&[]).is_empty());
        assert!(changes(&[("REBILLD_LOG__LEVEL", "debug")]).is_empty());
        assert!(changes(&[("REBILLD_COLLECTION__RETRY_DAYS", "2,4"), ("REBILLD_COLLECTION__FINAL_ACTION", "pause")]).is_empty());
        assert_eq!(changes(&[("REBILLD_COLLECTION__CAPS__24H", "3")]), ["collection"]);
        assert_eq!(changes(&[("REBILLD_GATEWAYS__FLUID__CAPS__1H", "1")]), ["gateways.fluid"]);
        assert_eq!(changes(&[("REBILLD_GATEWAYS__FLUID__API_KEY", "b")]), ["gateways.fluid"]);
        assert_eq!(changes(&[("REBILLD_ADMIN__BOOTSTRAP_KEY", "k"), ("REBILLD_JOBS__DRAIN", "1s")]), ["admin", "jobs"]);
        assert_eq!(changes(&[("REBILLD_DATABASE__URL", "postgres://u:p@h/d")]), ["database"]);
    }
}
