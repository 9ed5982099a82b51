//! Which columns the table of a workload has.

use crate::measure::Found;
use crate::workload::{Kind, Talk, Workload};

/// A column of a table: its heading, where its value is, and whether more is better, which decides
/// which way round a ratio is.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) value: fn(&Found) -> f64,
    pub(super) more_is_better: bool,
    pub(super) has_ratio: bool,
    /// Whether the value itself is how many times something is something else.
    pub(super) is_times: bool,
    /// What stands for zero.
    pub(super) zero: &'static str,
}

const fn column(title: &'static str, value: fn(&Found) -> f64, more_is_better: bool) -> Column {
    Column { title, value, more_is_better, has_ratio: true, is_times: false, zero: "0" }
}

const fn without_ratio(column: Column) -> Column {
    Column { has_ratio: false, ..column }
}

pub(super) const DELIVERIES: Column = column("deliveries/s", |found| found.deliveries_per_s, true);
pub(super) const MEGABYTES: Column = column("MB/s", |found| found.megabytes_per_s, true);
pub(super) const CPU: Column =
    column("CPU per delivery, µs", |found| found.cpu_us_per_delivery, false);
pub(super) const BUSY: Column = without_ratio(column("cores busy", |found| found.cpu_cores, false));
pub(super) const P50: Column = column("p50, µs", |found| found.p50_us, false);
pub(super) const P99: Column = column("p99, µs", |found| found.p99_us, false);
pub(super) const JOINS: Column = column("joins/s", |found| found.joins_per_s, true);
pub(super) const JOIN_CPU: Column =
    column("CPU per join, µs", |found| found.cpu_us_per_join, false);
pub(super) const MEMORY: Column =
    column("bytes per member", |found| found.bytes_per_connection, false);
const RESIDENT: Column = without_ratio(column("resident, MiB", |found| found.resident_mib, false));
const P99_WITHOUT: Column =
    without_ratio(column("without slow ones", |found| found.p99_us_without, false));
/// Of two runs that were made one after the other.
pub(super) const P99_TIMES: Column = Column {
    is_times: true,
    ..without_ratio(column(
        "times as long",
        |found| {
            if found.p99_us_without > 0.0 { found.p99_us / found.p99_us_without } else { 0.0 }
        },
        false,
    ))
};
const PEAK: Column = without_ratio(column("most memory, MiB", |found| found.peak_mib, false));
const PEAK_WITHOUT: Column =
    without_ratio(column("without slow ones", |found| found.peak_mib_without, false));
pub(super) const PEAK_OF_BOUND: Column = Column {
    is_times: true,
    ..without_ratio(column(
        "most memory, of its bound",
        |found| if found.bound_mib > 0.0 { found.peak_mib / found.bound_mib } else { 0.0 },
        false,
    ))
};
const BOUND: Column =
    Column { zero: "none", ..without_ratio(column("bound, MiB", |found| found.bound_mib, false)) };
const DEAF: Column =
    without_ratio(column("slow ones closed", |found| found.deaf_closed as f64, true));

pub(super) fn columns(workload: &Workload) -> Vec<Column> {
    match workload.kind {
        Kind::Idle(..) => vec![MEMORY, JOINS, JOIN_CPU, BUSY, RESIDENT],
        Kind::Churn(..) => vec![JOINS, JOIN_CPU, RESIDENT],
        Kind::Talk(Talk { rooms: 1, senders: 1, .. }) => vec![P50, P99, CPU],
        Kind::Talk(Talk { deaf_one_in: 1.., .. }) => {
            vec![P99, P99_WITHOUT, P99_TIMES, PEAK, PEAK_WITHOUT, BOUND, DEAF]
        }
        Kind::Talk(Talk { deliveries_per_s: 1.., .. }) => vec![CPU, P50, P99],
        Kind::Talk(Talk { payload: 4096.., .. }) => vec![MEGABYTES, CPU, BUSY, P99],
        Kind::Talk(_) => vec![DELIVERIES, CPU, BUSY, P99],
    }
}
