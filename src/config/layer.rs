//! A layer of values over the built-in ones: the operator's file, or the environment.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::variables::Variable;

/// Checked values by table and key, ready for figment.
pub(super) struct Layer {
    name: &'static str,
    tables: BTreeMap<&'static str, Dict>,
}

impl Layer {
    /// Name of the layer that a file makes.
    pub(super) const FILE: &'static str = "file";
    /// Name of the layer that the environment makes.
    pub(super) const ENVIRONMENT: &'static str = "environment";

    /// An empty layer.
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, tables: BTreeMap::new() }
    }

    /// Sets the key of a variable. The value has been checked to be of its kind.
    pub(super) fn set(&mut self, variable: &Variable, value: Value) {
        let (table, key) = variable.path();
        self.tables.entry(table).or_default().insert(key.to_owned(), value);
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let table = |(name, dict): (&&str, &Dict)| ((*name).to_owned(), Value::from(dict.clone()));
        Ok(Profile::Default.collect(self.tables.iter().map(table).collect::<Dict>()))
    }
}
