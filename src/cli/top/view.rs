//! What is on the screen: lines of text from two looks at a relay. Pure, and no wider than asked.
//!
//! A section whose series a relay does not have, or that has nothing to say, takes no line.

use serde_json::Value;

use super::look::Since;

/// How a piece of text is to look where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Dim,
    Bold,
    Good,
    Warn,
    Bad,
}

/// A line, piece by piece.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(pub(super) Vec<(Tone, String)>);

impl Line {
    fn of(label: &str) -> Self {
        Self(vec![(Tone::Dim, format!("{label:<LABEL$}"))])
    }

    fn add(&mut self, tone: Tone, text: impl Into<String>) -> &mut Self {
        self.0.push((tone, text.into()));
        self
    }

    fn len(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Without what is beyond a width; nothing that could move a cursor is left in it.
    fn cut(mut self, width: usize) -> Self {
        let mut left = width;
        for (_, text) in &mut self.0 {
            *text = text.chars().take(left).map(visible).collect();
            left -= text.chars().count();
        }
        self
    }
}

/// What is known beside the looks.
pub(super) struct About<'a> {
    /// Where the figures come from.
    pub(super) target: &'a str,
    /// Seconds between two looks.
    pub(super) interval_s: u64,
    /// Whether the relay rounds its figures up and renews them once a minute.
    pub(super) blurred: bool,
    /// Why the last look failed, if it did; then the figures are those of before.
    pub(super) trouble: Option<&'a str>,
}

/// The screen.
pub(super) fn render(about: &About<'_>, since: Option<Since<'_>>, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    head(&mut lines, about, since);
    if let Some(since) = since {
        checks(&mut lines, &since.now.health, width);
        usage(&mut lines, since, width);
        traffic(&mut lines, since);
        latency(&mut lines, since);
        reasons(&mut lines, since, width);
        bus(&mut lines, since);
        process(&mut lines, since);
    }
    lines.into_iter().map(|line| line.cut(width)).collect()
}

fn head(lines: &mut Vec<Line>, about: &About<'_>, since: Option<Since<'_>>) {
    let mut line = Line(vec![(Tone::Bold, "lethewire".to_owned())]);
    if let Some(since) = since {
        let health = &since.now.health;
        let text = |name: &str| health.get(name).and_then(Value::as_str).unwrap_or("?");
        let (status, draining) = (text("status"), health.get("draining") == Some(&true.into()));
        line.add(Tone::Plain, format!(" {} ", text("version")));
        line.add(tone_of(status), status);
        if draining {
            line.add(Tone::Warn, " draining");
        }
        let up = health.get("uptime").and_then(Value::as_u64).unwrap_or(0);
        line.add(Tone::Plain, format!("  up {}  {}", span(up), text("instanceId")));
    }
    lines.push(line);
    let mut line =
        Line(vec![(Tone::Dim, format!("{} every {} s", about.target, about.interval_s))]);
    match about.trouble {
        Some(trouble) => line.add(Tone::Bad, format!("  NO ANSWER: {trouble}")),
        None if about.blurred => {
            line.add(Tone::Warn, "  blurred: multiples of 8, new once a minute")
        }
        None => &mut line,
    };
    lines.push(line);
}

fn checks(lines: &mut Vec<Line>, health: &Value, width: usize) {
    let Some(checks) = health.get("checks").and_then(Value::as_object) else { return };
    let pieces = checks.iter().map(|(name, check)| {
        let text = |name: &str| check.get(name).and_then(Value::as_str).unwrap_or("");
        let value = check.get("observedValue").map(ToString::to_string).unwrap_or_default();
        let unit = text("observedUnit");
        let unit = if unit == name { String::new() } else { format!(" {unit}") };
        (tone_of(text("status")), format!("{name} {} {value}{unit}", text("status")))
    });
    wrapped(lines, "checks", pieces, width);
}

fn usage(lines: &mut Vec<Line>, since: Since<'_>, width: usize) {
    let look = since.now;
    let whole = |value: f64| format!("{value:.0}");
    let mut bar_of = |label: &str, used: &str, most: &str, show: &dyn Fn(f64) -> String| {
        let Some(used) = look.sum(used) else { return };
        let most = look.sum(most).filter(|most| *most > 0.0);
        let mut line = Line::of(label);
        match most {
            Some(most) => {
                let share = (used / most).clamp(0.0, 1.0);
                let cells = width.saturating_sub(LABEL + 36).clamp(8, 30);
                line.add(tone_of_share(share), bar(share, cells));
                let text = format!(" {:>3.0} %  {} of {}", share * 100.0, show(used), show(most));
                line.add(Tone::Plain, text);
            }
            None => {
                line.add(Tone::Plain, show(used));
            }
        }
        lines.push(line);
    };
    bar_of("sockets", "connections", "connections_max", &whole);
    bar_of("records", "room_records", "room_records_max", &whole);
    bar_of("queued", "queued_bytes", "queued_bytes_max", &size);
    bar_of("memory", "process_resident_memory_bytes", "memory_bytes_max", &size);
    let mut line = Line::of("inside");
    for (name, label) in [("members", "members"), ("rooms", "rooms"), ("copies_queued", "queued")] {
        if let Some(value) = look.sum(name) {
            line.add(Tone::Plain, format!("{label} {value:.0}  "));
        }
    }
    if let Some(age) = look.sum("queue_oldest_seconds").filter(|age| *age > 0.0) {
        line.add(Tone::Plain, format!("oldest {}", time(age)));
    }
    lines.push(line);
}

fn traffic(lines: &mut Vec<Line>, since: Since<'_>) {
    let rate = |name: &str| since.rate(name).map_or_else(|| "-".to_owned(), count);
    let bytes = |name: &str| since.rate(name).map_or_else(|| "-".to_owned(), size);
    for (label, what, each, of) in [
        ("messages", "messages_accepted_total", "in", "payload_accepted_bytes_total"),
        ("deliveries", "copies_delivered_total", "out", "socket_written_bytes_total"),
        ("joins", "joins_total", "read", "socket_read_bytes_total"),
    ] {
        let mut line = Line::of(label);
        line.add(Tone::Bold, format!("{:>8}/s", rate(what)));
        line.add(Tone::Plain, format!("  {each:<5}{:>9}/s", bytes(of)));
        if label == "joins" {
            line.add(Tone::Plain, format!("  leaves {}/s", rate("leaves_total")));
        }
        lines.push(line);
    }
}

fn latency(lines: &mut Vec<Line>, since: Since<'_>) {
    let mut line = Line::of("latency");
    for (label, name) in [
        ("relay", "relay_latency_seconds"),
        ("bus", "bus_publish_seconds"),
        ("loop lag", "event_loop_lag_seconds"),
    ] {
        if let (Some(half), Some(most)) = (since.quantile(name, 0.5), since.quantile(name, 0.99)) {
            line.add(Tone::Plain, format!("{label} p50 {} p99 {}  ", time(half), time(most)));
        }
    }
    if line.0.len() > 1 {
        lines.push(line);
    }
}

fn reasons(lines: &mut Vec<Line>, since: Since<'_>, width: usize) {
    for (label, name, by, tone) in [
        ("dropped", "copies_dropped_total", "reason", Tone::Warn),
        ("refused", "refusals_total", "reason", Tone::Warn),
        ("limits", "limit_hits_total", "limit", Tone::Warn),
        ("closed", "websockets_closed_total", "reason", Tone::Plain),
    ] {
        let found = since.now.by(name, by);
        let pieces =
            found.iter().map(|(reason, value)| (tone, format!("{reason} {}", count(*value))));
        wrapped(lines, label, pieces, width);
    }
}

fn bus(lines: &mut Vec<Line>, since: Since<'_>) {
    let look = since.now;
    let count_of = |state| look.one("bus_links", "state", state).unwrap_or(0.0);
    let (up, down) = (count_of("up"), count_of("down"));
    if up + down == 0.0 {
        return;
    }
    let is_up = look.sum("bus_up").unwrap_or(1.0) > 0.0 && down == 0.0;
    let mut line = Line::of("bus");
    line.add(if is_up { Tone::Good } else { Tone::Bad }, if is_up { "up" } else { "down" });
    line.add(Tone::Plain, format!("  links {up:.0} up {down:.0} down"));
    if let Some(trip) = look.sum("bus_round_trip_seconds") {
        line.add(Tone::Plain, format!("  round trip {}", time(trip)));
    }
    for (label, name) in [
        ("reconnects", "bus_reconnects_total"),
        ("gaps", "bus_gaps_total"),
        ("resets", "bus_resets_total"),
    ] {
        if let Some(value) = look.sum(name).filter(|value| *value > 0.0) {
            line.add(Tone::Warn, format!("  {label} {}", count(value)));
        }
    }
    lines.push(line);
}

fn process(lines: &mut Vec<Line>, since: Since<'_>) {
    let look = since.now;
    let mut line = Line::of("process");
    if let Some(cpu) = since.rate("process_cpu_seconds_total") {
        line.add(Tone::Plain, format!("cpu {:.0} %  ", cpu * 100.0));
    }
    if let Some(files) = look.sum("process_open_fds") {
        let most = look.sum("process_max_fds").map_or_else(String::new, |m| format!(" of {m:.0}"));
        line.add(Tone::Plain, format!("files {files:.0}{most}  "));
    }
    if let Some(threads) = look.sum("process_threads") {
        line.add(Tone::Plain, format!("threads {threads:.0}  "));
    }
    if let Some(tasks) = look.sum("runtime_tasks") {
        line.add(Tone::Plain, format!("tasks {tasks:.0}"));
    }
    if line.0.len() > 1 {
        lines.push(line);
    }
}

/// Pieces behind a label, on as many lines as they need.
fn wrapped(
    lines: &mut Vec<Line>,
    label: &str,
    pieces: impl Iterator<Item = (Tone, String)>,
    width: usize,
) {
    let mut line = Line::of(label);
    for (tone, piece) in pieces {
        if line.0.len() > 1 && line.len() + piece.chars().count() > width {
            lines.push(std::mem::replace(&mut line, Line::of("")));
        }
        line.add(tone, piece).add(Tone::Plain, "  ");
    }
    if line.0.len() > 1 {
        lines.push(line);
    }
}

fn bar(share: f64, cells: usize) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of at most 30"
    )]
    let full = ((share * cells as f64).ceil() as usize).min(cells);
    format!("[{}{}]", "#".repeat(full), "-".repeat(cells - full))
}

fn tone_of(status: &str) -> Tone {
    match status {
        "healthy" | "pass" => Tone::Good,
        "degraded" | "warn" => Tone::Warn,
        _ => Tone::Bad,
    }
}

fn tone_of_share(share: f64) -> Tone {
    match share {
        s if s >= 0.9 => Tone::Bad,
        s if s >= 0.75 => Tone::Warn,
        _ => Tone::Good,
    }
}

/// A number that need not be exact.
fn count(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1} G", v / 1e9),
        v if v >= 1e6 => format!("{:.1} M", v / 1e6),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v if v >= 100.0 || v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

/// Bytes.
fn size(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1} GB", v / 1e9),
        v if v >= 1e6 => format!("{:.1} MB", v / 1e6),
        v if v >= 1e3 => format!("{:.1} kB", v / 1e3),
        v => format!("{v:.0} B"),
    }
}

/// Seconds that are usually less than one.
fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.0} us", s * 1e6),
    }
}

/// Whole seconds, in words.
fn span(seconds: u64) -> String {
    match seconds {
        s if s >= 86_400 => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
        s if s >= 3600 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        s if s >= 60 => format!("{}m {}s", s / 60, s % 60),
        s => format!("{s}s"),
    }
}

/// What another process wrote could move the cursor or turn text around; ASCII cannot.
fn visible(c: char) -> char {
    if c.is_ascii_graphic() || c == ' ' { c } else { '?' }
}

/// Width of the first column.
const LABEL: usize = 11;

#[cfg(test)]
mod tests;
