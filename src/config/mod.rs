//! Configuration: every knob, with its type, range and default.
//!
//! `config/default.toml` is compiled in and explains every key; a file may override it, and the
//! environment overrides both. Every value is checked where it comes in, under the name that it was
//! given, and then the whole is checked for what does not fit together; all problems are reported
//! at once. Secrets take a way of their own, from the environment or from files that it names
//! straight into [`Keys`], and are in no value, error or output of this module.
//!
//! The rest of the relay sees a [`Config`] that fits, and no environment at all.

mod bus;
mod checks;
mod environment;
mod error;
mod file;
mod layer;
mod origin;
mod proxies;
mod schema;
mod secrets;
mod show;
mod values;
mod variables;

use std::path::Path;

use figment::Figment;
use figment::providers::{Format as _, Toml};

use self::error::Problems;
use self::layer::Layer;
use self::origin::Origin;
use self::variables::VARIABLES;

pub use self::bus::{BusAccess, RedisUrl, Topology};
pub use self::environment::Environment;
pub use self::error::{ConfigError, Note};
pub use self::origin::Origins;
pub use self::proxies::TrustProxy;
pub use self::schema::{
    Admission, Bus, BusMode, Config, Cors, Deployment, Feature, Headers, Health, Heartbeat, Http,
    Info, Limits, Log, LogFormat, Metrics, MetricsPrivacy, Room, Server, Token,
};
pub use self::show::Summary;
pub use self::values::Switch;
use crate::core::token::Keys;

/// The built-in configuration, with the explanation of every key.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// What the relay starts with.
pub struct Loaded {
    /// Everything but the secrets.
    pub config: Config,
    /// The keys of join tokens.
    pub keys: Keys,
    /// The way to Redis, if rooms are shared with other nodes.
    pub bus: Option<BusAccess>,
    /// What to tell the operator at the start.
    pub notes: Vec<Note>,
}

/// Puts the configuration together: built-in values, then `file` if there is one, then the
/// environment.
///
/// A file that is named but not there is an error.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Loaded, ConfigError> {
    let mut problems = Problems::default();
    let mut config = assemble(file, environment, &mut problems);
    let mut notes = environment::suspicious(environment);
    notes.extend(checks::notes(&config));
    let secrets = secrets::all(&mut config, environment, &mut problems, &mut notes);
    if config.server.instance_id.is_empty() {
        config.server.instance_id = random_name(&mut problems);
    }
    match secrets {
        Some((keys, bus)) if problems.is_empty() => Ok(Loaded { config, keys, bus, notes }),
        _ => Err(problems.into_error()),
    }
}

fn assemble(file: Option<&Path>, environment: &Environment, problems: &mut Problems) -> Config {
    let file = file.map(|path| file::read(path, problems));
    let variables = environment::read(environment, problems);
    let config = merge(file.into_iter().chain([variables]), problems);
    checks::check(&config, problems);
    config
}

impl Config {
    /// Like [`load`], for whoever needs no secret and so should not read one.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let config = assemble(file, environment, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(problems.into_error()) }
    }

    /// Reads a configuration from TOML alone, over the built-in values.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let layer = file::parse(text, "the text", &mut problems);
        let config = merge([layer], &mut problems);
        checks::check(&config, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(problems.into_error()) }
    }
}

impl Default for Config {
    /// The built-in configuration.
    fn default() -> Self {
        built_in().extract().expect("config/default.toml is complete; a test reads it")
    }
}

fn built_in() -> Figment {
    Figment::from(Toml::string(DEFAULT_TOML))
}

/// Lays layers over the built-in values. Their values have been checked one by one, so that putting
/// them together can only fail by a bug; then the built-in values are left, and the problem is
/// reported.
fn merge(layers: impl IntoIterator<Item = Layer>, problems: &mut Problems) -> Config {
    let figment = layers.into_iter().fold(built_in(), |figment, layer| figment.merge(layer));
    let mut config = figment.extract::<Config>().unwrap_or_else(|error| {
        let key = error.path.join(".");
        problems.add(key, "this value is not of its type");
        Config::default()
    });
    for variable in VARIABLES {
        let origin = match figment.find_metadata(variable.key).map(|metadata| &*metadata.name) {
            Some(Layer::FILE) => Origin::File,
            Some(Layer::ENVIRONMENT) => Origin::Environment(variable.name),
            _ => continue,
        };
        config.origins.values.insert(variable.key, origin);
    }
    config
}

/// Eight random hexadecimal digits.
fn random_name(problems: &mut Problems) -> String {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        problems.add("INSTANCE_ID", "the system has no random bytes to make one");
    }
    format!("{:08x}", u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
