//! How much the tests do: a short form for every commit, a long one for the night.

/// Whether this is the long form.
pub(crate) fn is_nightly() -> bool {
    std::env::var_os("CLUSTER_NIGHTLY").is_some_and(|value| !value.is_empty())
}

/// So many, or in the long form so many.
pub(crate) fn sized(short: u64, long: u64) -> u64 {
    if is_nightly() { long } else { short }
}
