//! The effective configuration as text: valid TOML, secrets left out, and where values came from.

use std::fmt::Write as _;
use std::sync::LazyLock;

use figment::value::Value;

use super::origin::{Origin, SecretState};
use super::schema::Config;
use super::values::whole;
use super::variables::VARIABLES;

impl Config {
    /// The configuration as TOML. Values that are not built in say where they came from, and of
    /// secrets only their length is shown.
    #[expect(clippy::missing_panics_doc, reason = "plain data always serialises")]
    pub fn redacted(&self) -> String {
        let values =
            Value::serialize(self).expect("every value of the configuration is plain data");
        let mut out = String::new();
        let mut table = "";
        for variable in VARIABLES {
            let (this, key) = variable.path();
            if this != table {
                let gap = if table.is_empty() { "" } else { "\n" };
                append(&mut out, format_args!("{gap}[{this}]\n"));
                table = this;
            }
            let value = values.find_ref(variable.key).map(to_toml).unwrap_or_default();
            append(&mut out, format_args!("{key} = {value}"));
            match self.origins.values.get(variable.key) {
                Some(Origin::File) => out.push_str("  # from the file"),
                Some(Origin::Environment(name)) => {
                    append(&mut out, format_args!("  # from {name}"));
                }
                None => {}
            }
            out.push('\n');
        }
        for (name, state) in &self.origins.secrets {
            append(&mut out, format_args!("\n# {name}: "));
            match state {
                SecretState::None => out.push_str("(none)"),
                SecretState::Random => out.push_str("(none; random for each run)"),
                SecretState::Set(bytes, by) if by == name => {
                    append(&mut out, format_args!("(set, {bytes} bytes)"));
                }
                SecretState::Set(bytes, by) => {
                    append(&mut out, format_args!("(set, {bytes} bytes, from {by})"));
                }
            }
        }
        out.push('\n');
        out
    }

    /// What differs from the built-in values, by variable, as in `PORT=0 HOST=(set)`, and the state of
    /// each secret in the same way. Numbers, switches and words are shown; what is free text, an
    /// address or a list of them is not, because a log goes further than a configuration.
    #[expect(clippy::missing_panics_doc, reason = "plain data always serialises")]
    pub fn summary(&self) -> Summary {
        let values =
            Value::serialize(self).expect("every value of the configuration is plain data");
        let mut changed = Vec::new();
        for variable in VARIABLES.iter().filter(|v| self.origins.values.contains_key(v.key)) {
            let value = values.find_ref(variable.key);
            if value == BUILT_IN.find_ref(variable.key) {
                continue;
            }
            let shown = value.filter(|_| variable.kind.is_harmless()).map(to_toml);
            let shown = shown.unwrap_or_else(|| "(set)".to_owned());
            changed.push(format!("{}={}", variable.name, shown.replace(['"', ' '], "")));
        }
        let secrets = self.origins.secrets.iter().map(|(name, state)| {
            let state = match state {
                SecretState::None => "(none)",
                SecretState::Random => "(random)",
                SecretState::Set(..) => "(set)",
            };
            format!("{name}={state}")
        });
        Summary { changed: changed.join(" "), secrets: secrets.collect::<Vec<_>>().join(" ") }
    }
}

/// A configuration in two lines, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What differs from the built-in values.
    pub changed: String,
    /// Which secrets are there.
    pub secrets: String,
}

/// The built-in values.
static BUILT_IN: LazyLock<Value> = LazyLock::new(|| {
    Value::serialize(Config::default()).expect("every value of the configuration is plain data")
});

/// A value in TOML's notation.
pub(super) fn to_toml(value: &Value) -> String {
    match value {
        // Whatever JSON escapes, TOML's basic strings escape in the same way, and one more.
        Value::String(_, text) => {
            let json = serde_json::to_string(text).expect("a string is always JSON");
            json.replace('\u{7f}', "\\u007f")
        }
        Value::Bool(_, on) => on.to_string(),
        Value::Num(_, number) => whole(*number).map(|n| n.to_string()).unwrap_or_default(),
        Value::Array(_, items) => {
            format!("[{}]", items.iter().map(to_toml).collect::<Vec<_>>().join(", "))
        }
        Value::Char(..) | Value::Empty(..) | Value::Dict(..) => String::new(),
    }
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String");
}
