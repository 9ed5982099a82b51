//! What is shown: every metric by name, with its help and samples, in the text form of `OpenMetrics`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::families;
use super::source::Reading;

/// What all names begin with that are not the process' own.
pub(super) const PREFIX: &str = "lethewire";

/// Labels of a sample, as pairs of name and value; none of them is longer than two.
pub(super) type Labels = Vec<(&'static str, &'static str)>;

/// A value, as the text form has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    Whole(u64),
    /// Seconds, mostly.
    Real(f64),
    /// Always one; the labels are what it says.
    Info,
    /// Upper bounds with the number up to and above the one before, the last one for all above.
    Histogram { sum: f64, buckets: Vec<(f64, u64)> },
}

/// One metric with all its samples, ready for output.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) samples: Vec<(Labels, Value)>,
}

impl Family {
    fn encode(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let unit = self.unit.as_ref();
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit, self.kind)?;
        for (labels, value) in self.samples {
            match value {
                Value::Info => metric.encode_info(&labels)?,
                value if labels.is_empty() => sample(&mut metric, self.kind, value)?,
                value => sample(&mut metric.encode_family(&labels)?, self.kind, value)?,
            }
        }
        Ok(())
    }
}

fn sample(metric: &mut MetricEncoder<'_>, kind: MetricType, value: Value) -> fmt::Result {
    match (value, kind) {
        (Value::Whole(value), MetricType::Counter) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (Value::Real(value), MetricType::Counter) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (Value::Whole(value), _) => metric.encode_gauge(&value),
        (Value::Real(value), _) => metric.encode_gauge(&value),
        (Value::Info, _) => Ok(()),
        (Value::Histogram { sum, buckets }, _) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        }
    }
}

/// Hands families to a registry, once.
struct Once(Box<dyn Fn() -> Vec<Family> + Send + Sync>);

impl Collector for Once {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)().into_iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

/// All metrics, as `OpenMetrics` 1.0 text.
pub(super) fn encode(reading: &Reading) -> String {
    let own = reading.clone();
    let process = reading.process;
    let mut registry = Registry::default();
    let relay = registry.sub_registry_with_prefix(PREFIX);
    relay.register_collector(Box::new(Once(Box::new(move || families::of_relay(&own)))));
    registry.register_collector(Box::new(Once(Box::new(move || families::of_process(&process)))));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("writing to a String cannot fail");
    out
}

/// The same samples as `{<series>:{"type":…,"value":…}}`: the text form line by line, so that both
/// show the same.
pub(super) fn to_json(text: &str) -> serde_json::Map<String, serde_json::Value> {
    let mut metrics = serde_json::Map::new();
    let mut kind = "";
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            if let Some((_, told)) = comment.strip_prefix("TYPE ").and_then(|c| c.split_once(' ')) {
                kind = told;
            }
            continue;
        }
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let number = value.parse::<u64>().map(serde_json::Number::from).ok();
        let number = number.or_else(|| serde_json::Number::from_f64(value.parse().ok()?));
        if let Some(number) = number {
            let sample = serde_json::json!({ "type": kind, "value": number });
            metrics.insert(series.to_owned(), sample);
        }
    }
    metrics
}
