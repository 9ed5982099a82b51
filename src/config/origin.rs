//! Where values came from, for whoever asks what is in effect.

use std::collections::BTreeMap;

/// Where the values of one configuration came from.
///
/// Only `load` fills it; a configuration that a test puts together says nothing about origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// By key, as `table.key`; what is missing is built in.
    pub(super) values: BTreeMap<&'static str, Origin>,
    /// What can be said about each secret, by the variable that names it.
    pub(super) secrets: Vec<(&'static str, SecretState)>,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The operator's file.
    File,
    /// The environment variable of this name.
    Environment(&'static str),
}

/// What may be said about a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretState {
    /// It is not set.
    None,
    /// It was made for this run.
    Random,
    /// It has this many bytes, and this variable said it or named its file.
    Set(usize, &'static str),
}
