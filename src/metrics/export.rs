//! What is shown: every metric by name, with its help and samples, for all forms of output.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::bus::{BusRefusal, LinkState};
use super::count::{Count, Level};
use super::refusal::Refusal;
use super::source::{ANSWERED, BUS_REFUSED, CLASSES, CLOSED, REFUSED, Source};
use crate::core::close::Close;

/// What all names begin with.
pub(super) const PREFIX: &str = "lethewire";

impl Source {
    /// Every metric with its current value: the one list behind all forms of output.
    pub(super) fn families(&self) -> Vec<Family> {
        let sums = self.sums();
        let sum = |cell: usize| sums.get(cell).copied().unwrap_or(0);
        let gauge = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let mut families = vec![
            Family::gauge("connections", None, "Sockets open right now.", gauge(&self.connections)),
            Family::gauge("members", None, "Members in rooms right now.", gauge(&self.members)),
            Family::gauge("rooms", None, "Rooms with members right now.", gauge(&self.rooms)),
            Family::gauge(
                "uptime",
                Some(Unit::Seconds),
                "Time since the start.",
                gauge(&self.uptime_s),
            ),
        ];
        for (level, value) in Level::ALL.into_iter().zip(&self.levels) {
            let (name, unit, help) = level.row();
            families.push(Family::gauge(name, unit, help, gauge(value)));
        }
        for count in Count::ALL {
            let (name, unit, help) = count.row();
            let samples = vec![(None, sum(count as usize))];
            let kind = MetricType::Counter;
            families.push(Family { name, unit, help, kind, label: None, samples });
        }
        let closes = Close::ALL.map(Close::name);
        let bus = BusRefusal::ALL.map(|refusal| refusal.row().0);
        let refusals = Refusal::ALL.map(|refusal| refusal.row().0);
        for (name, help, label, values, first) in [
            (
                "websockets_closed",
                "WebSockets that ended, by close code.",
                "reason",
                &closes[..],
                CLOSED,
            ),
            ("refusals", "Who was not let in, by reason.", "reason", &refusals[..], REFUSED),
            ("http_answers", "HTTP answers, by class of status.", "class", &CLASSES[..], ANSWERED),
            (
                "bus_refusals",
                "Batches and envelopes of the bus that took no effect, by reason.",
                "reason",
                &bus[..],
                BUS_REFUSED,
            ),
        ] {
            let samples =
                values.iter().zip(first..).map(|(value, cell)| (Some(*value), sum(cell))).collect();
            let kind = MetricType::Counter;
            families.push(Family { name, unit: None, help, kind, label: Some(label), samples });
        }
        families.extend(self.bus_families());
        families
    }

    /// How the bus is right now.
    fn bus_families(&self) -> [Family; 2] {
        let links = LinkState::ALL.map(|state| (Some(state.row().0), self.bus.links(state)));
        [
            Family {
                name: "bus_links",
                unit: None,
                help: "Links to Redis servers right now, by state.",
                kind: MetricType::Gauge,
                label: Some("state"),
                samples: links.to_vec(),
            },
            Family::gauge(
                "bus_round_trip",
                Some(Unit::Other("microseconds".to_owned())),
                "How long the last probe of the bus was on its way; 0 while it is down.",
                self.bus.round_trip_us(),
            ),
        ]
    }
}

/// One metric with all its samples, ready for output.
pub(super) struct Family {
    pub(super) name: &'static str,
    unit: Option<Unit>,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) label: Option<&'static str>,
    pub(super) samples: Vec<(Option<&'static str>, u64)>,
}

impl Family {
    fn gauge(name: &'static str, unit: Option<Unit>, help: &'static str, value: u64) -> Self {
        let samples = vec![(None, value)];
        Self { name, unit, help, kind: MetricType::Gauge, label: None, samples }
    }

    /// The name that a sample has in the text form.
    pub(super) fn series_name(&self) -> String {
        let unit =
            self.unit.as_ref().map_or_else(String::new, |unit| format!("_{}", unit.as_str()));
        let total = if matches!(self.kind, MetricType::Counter) { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }
}

/// Hands the families to the registry at each scrape.
pub(super) struct Summed(pub(super) Arc<Source>);

impl Collector for Summed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for family in self.0.families() {
            let unit = family.unit.as_ref();
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, unit, family.kind)?;
            for (label, value) in family.samples {
                match family.label.zip(label) {
                    Some(pair) => sample(&mut metric.encode_family(&[pair])?, family.kind, value)?,
                    None => sample(&mut metric, family.kind, value)?,
                }
            }
        }
        Ok(())
    }
}

fn sample(metric: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> std::fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

impl std::fmt::Debug for Summed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Summed")
    }
}
