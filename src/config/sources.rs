//! Where settings come from. If one is wrong, a sentence names its key, its file or variable, and what is allowed.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::{Actual, Kind},
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::{Config, ConfigError, DEFAULTS};

const PREFIX: &str = "REBILLD_";

/// The three layers of settings, and for each key which layer it comes from.
pub(super) struct Sources {
    layers: Figment,
    file: Option<(PathBuf, Figment)>,
    /// Variable and key path, such as `REBILLD_LOG__LEVEL` and `log.level`.
    variables: Vec<(String, String)>,
    /// A sentence for each variable with a wrong name.
    slips: Vec<String>,
}

impl Sources {
    pub(super) fn gather<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ConfigError> {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let mut layers = defaults.clone();
        let file = file.map(read).transpose()?;
        if let Some((_, settings)) = &file {
            layers = layers.merge(settings);
        }
        let (mut variables, mut slips) = (Vec::new(), Vec::new());
        for (name, value) in environment {
            // A name that is not UTF-8 cannot be a setting.
            let Some(name) = name.as_ref().to_str() else { continue };
            let key = match key_of(name, &defaults) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(slip) => {
                    slips.push(slip);
                    continue;
                }
            };
            let Some(value) = value.as_ref().to_str() else {
                slips.push(format!("{name} is not UTF-8 text"));
                continue;
            };
            layers = layers.merge((key.as_str(), typed(&key, value, &defaults)));
            variables.push((name.to_owned(), key));
        }
        // The environment has no fixed order; the sentences must have one.
        slips.sort();
        Ok(Self { layers, file, variables, slips })
    }

    /// The settings, and a sentence for each fault. serde stops at the first fault, so a harmless value replaces it and reading
    /// starts again, until every fault is named. If there is any sentence, the settings serve only to find more faults.
    pub(super) fn extract(&self) -> (Option<Config>, Vec<String>) {
        let mut sentences = self.slips.clone();
        let mut layers = self.layers.clone();
        // Each round mends one key, and there are fewer keys than rounds.
        for _ in 0..100 {
            let errors = match layers.extract() {
                Ok(config) => return (Some(config), sentences),
                Err(errors) => errors,
            };
            let Ok(mut settings) = layers.extract::<Dict>() else { break };
            for error in errors {
                let sentence = self.sentence(&error);
                if sentences.contains(&sentence) {
                    return (None, sentences);
                }
                sentences.push(sentence);
                mend(&mut settings, &error);
            }
            layers = Figment::from(Mended(settings));
        }
        (None, sentences)
    }

    fn sentence(&self, error: &figment::Error) -> String {
        let path = error.path.join(".");
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let (key, fault) = match &error.kind {
            Kind::UnknownField(name, allowed) => {
                // figment puts the unknown name at the end of the path in some cases and leaves it out in others.
                let key = if error.path.last() == Some(name) { path.clone() } else { below(name) };
                (key, format!("is not a setting ({})", choice("allowed here", allowed)))
            }
            Kind::MissingField(name) => (below(name), "is missing".to_owned()),
            Kind::UnknownVariant(found, allowed) => (path, format!("cannot be {found:?} ({})", choice("allowed", allowed))),
            Kind::InvalidType(found, wanted) => (path, format!("must be {}, not {}", kind_of(wanted), shape(found))),
            Kind::InvalidValue(found, wanted) => {
                let found = found.to_string();
                (path, format!("must be {wanted}, not {}", found.strip_prefix("string ").unwrap_or(&found)))
            }
            Kind::InvalidLength(found, wanted) => (path, format!("must have {wanted}, not {found}")),
            Kind::ISizeOutOfRange(found) => (path, format!("cannot be {found}: out of range")),
            Kind::USizeOutOfRange(found) => (path, format!("cannot be {found}: out of range")),
            Kind::Message(text) => (path, text.clone()),
            _ => (path, "has a value of the wrong type".to_owned()),
        };
        format!("{key} {fault}{}", self.origin(&key))
    }

    /// " (from …)" with the layer that sets this key.
    fn origin(&self, key: &str) -> String {
        let speaks_of = |other: &str| {
            other == key || other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')) || {
                // A missing key has no layer: the layer of its table tells where to look.
                let table = key.rsplit_once('.').map_or("", |(table, _)| table);
                table.contains('.') && other.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
            }
        };
        let exact = self.variables.iter().find(|(_, other)| other == key);
        let in_file = self.file.as_ref().filter(|(_, settings)| settings.contains(key));
        if let (None, Some((file, _))) = (exact, in_file) {
            return format!(", in {}", file.display());
        }
        match exact.or_else(|| self.variables.iter().find(|(_, other)| speaks_of(other))) {
            Some((name, _)) => format!(", by the environment variable {name}"),
            None => match &self.file {
                Some((file, settings)) if key.rsplit_once('.').is_some_and(|(table, _)| settings.contains(table)) => {
                    format!(", in {}", file.display())
                }
                _ => String::new(),
            },
        }
    }
}

fn read(path: &Path) -> Result<(PathBuf, Figment), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::one(format!("cannot read the configuration file {}: {error}", path.display())))?;
    let settings = Figment::from(Toml::string(&text));
    // The parser copies the broken line, which may hold a secret. Keep the position and the reason, drop the line.
    if let Err(error) = settings.extract::<figment::value::Dict>() {
        let text = error.to_string();
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.contains(" | ") && !line.starts_with('|'))
            .collect();
        return Err(ConfigError::one(format!("{} is not valid TOML: {}", path.display(), lines.join(": "))));
    }
    Ok((path.to_owned(), settings))
}

/// The key path that a variable sets; none if it is no setting. A setting has `__`, so `REBILLD_TEST_…` is free for other uses.
fn key_of(name: &str, defaults: &Figment) -> Result<Option<String>, String> {
    let Some(rest) = name.strip_prefix(PREFIX) else { return Ok(None) };
    let parts: Vec<&str> = rest.split("__").collect();
    if parts.len() == 1 {
        // A single underscore is the likeliest mistake. If it were ignored, the daemon would run with the default.
        let slip = rest.to_ascii_lowercase();
        let meant = slip.split_once('_').filter(|(section, key)| {
            *section == "gateways"
                || *section == "dunning"
                || defaults.find_value(section).is_ok_and(|table| table.find_ref(key).is_some())
        });
        return match meant {
            Some((section, key)) => Err(format!(
                "the environment variable {name} has no effect: write {PREFIX}{}__{}, with two underscores between levels",
                section.to_ascii_uppercase(),
                key.to_ascii_uppercase()
            )),
            None => Ok(None),
        };
    }
    let usable = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !parts.iter().all(|part| usable(part)) {
        return Err(format!("the environment variable {name} is not a setting: write {PREFIX}<SECTION>__<KEY>"));
    }
    Ok(Some(parts.join(".").to_ascii_lowercase()))
}

/// A variable's value in the type of its key. The key decides, not the value: else the password `0123` would become 123.
fn typed(key: &str, value: &str, defaults: &Figment) -> Value {
    let parse = |text: &str| text.parse().unwrap_or_else(|never| match never {});
    let list = |text: &str| if text.trim_start().starts_with('[') { parse(text) } else { parse(&format!("[{text}]")) };
    match defaults.find_value(key) {
        Ok(Value::Array(..)) => list(value),
        Ok(Value::Num(..) | Value::Bool(..)) => parse(value.trim()),
        Err(_) if key.starts_with("billing.holidays.") => list(value),
        Err(_) if key.starts_with("dunning.") && key.rsplit('.').next() == Some("steps") => list(value),
        Err(_) if key.starts_with("collection.caps.") => parse(value.trim()),
        Err(_) if key.starts_with("gateways.") && key.contains(".caps.") => parse(value.trim()),
        Err(_) if key.starts_with("gateways.") && key.ends_with(".max_in_flight") => parse(value.trim()),
        _ => Value::from(value),
    }
}

/// Settings after a fault was taken out of them.
struct Mended(Dict);

impl Provider for Mended {
    fn metadata(&self) -> Metadata {
        Metadata::named("settings")
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

/// Replaces a faulty value by one that can be read and that passes every check. Removes a key that is no setting.
fn mend(settings: &mut Dict, error: &figment::Error) {
    let mut path = error.path.clone();
    let unknown = match &error.kind {
        Kind::UnknownField(name, _) => {
            if path.last() != Some(name) {
                path.push(name.clone());
            }
            true
        }
        Kind::MissingField(name) => {
            path.push(name.to_string());
            false
        }
        _ => false,
    };
    let defaults = Figment::from(Toml::string(DEFAULTS));
    let mut table = settings;
    for (depth, key) in path.iter().enumerate() {
        let last = depth + 1 == path.len();
        if !last && matches!(table.get(key), Some(Value::Dict(..))) {
            let Some(Value::Dict(_, inner)) = table.get_mut(key) else { return };
            table = inner;
            continue;
        }
        // The faulty key, or the list that holds it.
        let mended = match key.as_str() {
            _ if unknown && last => None,
            "kind" => Some(Value::from("sandbox")),
            "mode" => Some(Value::from("test")),
            "base_url" => Some(Value::from("http://localhost")),
            "api_key" | "merchant_id" => Some(Value::from("none")),
            _ => defaults.find_value(&path[..=depth].join(".")).ok(),
        };
        match mended {
            Some(value) => table.insert(key.clone(), value),
            None => table.remove(key),
        };
        return;
    }
}

/// The expected type, as people say it.
fn kind_of(wanted: &str) -> &str {
    match wanted {
        "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number",
        "string" | "a string" => "a text",
        other => other,
    }
}

fn choice(word: &str, allowed: &[&str]) -> String {
    format!("{word}: {}", allowed.join(", "))
}

/// The type that was found, without the value: a secret may stand in the wrong place.
fn shape(found: &Actual) -> String {
    match found {
        Actual::Str(_) | Actual::Char(_) => "a text".to_owned(),
        Actual::Bytes(_) => "bytes".to_owned(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        _ => "what it is".to_owned(),
    }
}
