//! One look at a relay, and what two looks say together: rates and quantiles.

use serde_json::Value;

use super::openmetrics::{Sample, parse};
use crate::core::limit::Instant;

/// What a relay said at one moment.
pub(super) struct Look {
    /// When.
    pub(super) at: Instant,
    /// `/health`; null if that is not JSON.
    pub(super) health: Value,
    samples: Vec<Sample>,
}

impl Look {
    /// Reads both answers.
    ///
    /// # Errors
    ///
    /// A sentence, if what should be metrics are none.
    pub(super) fn new(at: Instant, health: &[u8], metrics: &[u8]) -> Result<Self, String> {
        let text =
            std::str::from_utf8(metrics).map_err(|_| "the metrics are not text".to_owned())?;
        let samples =
            parse(text).map_err(|line| format!("line {line} of the metrics is not OpenMetrics"))?;
        Ok(Self { at, health: serde_json::from_slice(health).unwrap_or_default(), samples })
    }

    /// The samples of a name, with or without the relay's prefix.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name || sample.name.strip_prefix(PREFIX).is_some_and(|n| n == name)
        })
    }

    /// All samples of a name together; `None` if there are none.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        self.named(name).map(|sample| sample.value).reduce(|a, b| a + b)
    }

    /// The value of one series.
    pub(super) fn one(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        let found = self.named(name).find(|sample| sample.label(label) == Some(value));
        found.map(|sample| sample.value)
    }

    /// The series of a name by a label, those that are not zero, the largest first.
    pub(super) fn by(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut found: Vec<_> = self
            .named(name)
            .filter(|sample| sample.value > 0.0)
            .filter_map(|sample| Some((sample.label(label)?.to_owned(), sample.value)))
            .collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found
    }

    /// Whether anything was counted between the two.
    pub(super) fn differs(&self, before: &Self) -> bool {
        self.samples != before.samples
    }
}

/// A look and an earlier one.
#[derive(Clone, Copy)]
pub(super) struct Since<'a> {
    pub(super) now: &'a Look,
    /// `None` at first.
    pub(super) before: Option<&'a Look>,
}

impl Since<'_> {
    /// How fast a counter grows, per second; `None` until there is something to compare, and when
    /// the relay was started anew in between.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        let before = self.before?;
        let seconds = self.now.at.since(before.at).as_secs_f64();
        let grown = self.now.sum(name)? - before.sum(name)?;
        (seconds > 0.0 && grown >= 0.0).then(|| grown / seconds)
    }

    /// Below what a share of the values of a histogram were, in seconds: of those since the earlier
    /// look, or of all if there were none since. Interpolated within a bucket; above the last
    /// bound it is that bound.
    pub(super) fn quantile(&self, name: &str, share: f64) -> Option<f64> {
        let name = format!("{name}_bucket");
        let mut buckets = buckets(self.now, &name);
        if let Some(before) = self.before {
            let earlier = self::buckets(before, &name);
            let recent: Vec<_> = buckets
                .iter()
                .zip(&earlier)
                .map(|((bound, count), (_, old))| (*bound, count - old))
                .collect();
            if recent.last().is_some_and(|(_, count)| *count > 0.0) {
                buckets = recent;
            }
        }
        let (_, all) = buckets.last().copied()?;
        let wanted = all * share;
        if all <= 0.0 {
            return None;
        }
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= wanted && bound.is_finite() {
                let inside = count - below;
                let part = if inside > 0.0 { (wanted - below) / inside } else { 1.0 };
                return Some(low + (bound - low) * part);
            }
            if bound.is_finite() {
                (low, below) = (bound, count);
            }
        }
        Some(low)
    }
}

/// The cumulative buckets of a histogram by their upper bounds.
fn buckets(look: &Look, name: &str) -> Vec<(f64, f64)> {
    let bound = |sample: &Sample| sample.label("le")?.parse::<f64>().ok();
    look.named(name).filter_map(|sample| Some((bound(sample)?, sample.value))).collect()
}

const PREFIX: &str = "lethewire_";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn look(seconds: u64, metrics: &str) -> Look {
        let at = Instant::START.after(Duration::from_secs(seconds));
        Look::new(at, b"{}", metrics.as_bytes()).unwrap()
    }

    #[test]
    fn a_rate_is_the_difference_by_the_time_and_nothing_after_a_restart() {
        let (a, b) = (look(10, "lethewire_x_total 5\n"), look(14, "lethewire_x_total 25\n"));
        let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-9;
        assert!(close(Since { now: &b, before: Some(&a) }.rate("x_total"), 5.0));
        assert_eq!(Since { now: &a, before: Some(&b) }.rate("x_total"), None);
        assert_eq!(Since { now: &b, before: None }.rate("x_total"), None);
        assert_eq!(Since { now: &b, before: Some(&a) }.rate("y_total"), None);
        assert!(b.differs(&a) && !b.differs(&b));
    }

    #[test]
    fn quantiles_are_of_what_came_since_and_stay_within_the_bounds() {
        let text = |counts: [u32; 3]| {
            let [a, b, c] = counts;
            format!(
                "h_bucket{{le=\"1\"}} {a}\nh_bucket{{le=\"3\"}} {b}\nh_bucket{{le=\"+Inf\"}} {c}\n"
            )
        };
        let (a, b) = (look(1, &text([10, 10, 10])), look(2, &text([10, 20, 20])));
        let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-9;
        assert!(close(Since { now: &b, before: Some(&a) }.quantile("h", 0.5), 2.0));
        assert!(close(Since { now: &b, before: None }.quantile("h", 0.5), 1.0));
        assert!(close(Since { now: &a, before: Some(&a) }.quantile("h", 0.5), 0.5));
        let over = look(3, &text([0, 0, 9]));
        assert!(close(Since { now: &over, before: None }.quantile("h", 0.99), 3.0));
        assert_eq!(Since { now: &over, before: None }.quantile("i", 0.5), None);
    }
}
