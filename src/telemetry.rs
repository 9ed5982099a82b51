//! Log lines: where they go, what they look like, and what can never be in them.
//!
//! Lines go to standard output, with times in whole seconds, because finer ones tie a line to an
//! event. Only this crate's own lines are written, whatever `LOG_LEVEL` says: other crates have
//! never promised to keep headers and addresses out of theirs. A panic is logged by its place in the
//! source; its message may contain anything and is dropped.

mod throttle;

use std::fmt;
use std::io::Write as _;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber, warn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, filter, registry};

use self::throttle::Throttle;
use crate::clock;
use crate::config::Config;
use crate::core::limit::{Instant, UnixSeconds};

/// Starts writing log lines as the configuration says. A second call changes nothing.
pub fn init(config: &Config) {
    let throttle = Arc::new(Throttle::new(config.log.repeats_per_min));
    let subscriber = subscriber(config, Arc::clone(&throttle), std::io::stdout);
    // Fails only if there is a subscriber already, and then that one stays.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = THROTTLE.set(throttle);
    }
}

/// How often each place in the source has written, once lines are written at all.
static THROTTLE: OnceLock<Arc<Throttle>> = OnceLock::new();

/// Writes a line for each place in the source that wrote too many in a minute that is over, and
/// returns how many lines were left out there. To be called every now and then, by one task.
pub fn tell_suppressed(now: Instant) -> u64 {
    THROTTLE.get().map_or(0, |throttle| tell(throttle, now))
}

fn tell(throttle: &Throttle, now: Instant) -> u64 {
    let suppressed = throttle.suppressed(now);
    for ((file, line), lines) in &suppressed {
        warn!(place = %format_args!("{file}:{line}"), lines, "too many of the same, left out");
    }
    suppressed.iter().map(|(_, lines)| lines).sum()
}

/// Replaces what the process prints on a panic: the place, and never the message.
pub fn withhold_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = Place(panic.location());
        if tracing::dispatcher::has_been_set() {
            tracing::error!(%place, "panicked");
        } else {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "lethewire panicked at {place}");
        }
    }));
}

/// A time as RFC 3339 has it, in UTC and whole seconds: `2026-11-21T13:45:07Z`.
pub const fn rfc3339(at: UnixSeconds) -> Rfc3339 {
    Rfc3339(at)
}

/// Prints a time; see [`rfc3339`].
#[derive(Clone, Copy)]
pub struct Rfc3339(UnixSeconds);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnixSeconds(seconds) = self.0;
        let (days, second) = (seconds / DAY_S, seconds % DAY_S);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month and day of the `days`th day after 1970-01-01.
///
/// Years are counted from a first of March, so that the leap day is the last day of a year and every
/// month before it has a fixed start. 400 such years always have 146,097 days.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / 146_097, days % 146_097);
    // Leap days so far are taken out: one in 1,461 days, but for three of four centuries.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, months have 31 30 31 30 31 days, twice and a bit: 153 days in five months.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = 400 * era + year;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;
const DAY_S: u64 = 86_400;

fn subscriber<W>(
    config: &Config,
    throttle: Arc<Throttle>,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The configuration has been checked; a bad level there can only come from a test.
    let level = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(&config.log.level);
    let own = filter::filter_fn(|metadata| {
        let target = metadata.target();
        target == OWN || target.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::"))
    });
    let throttled = Throttled(throttle);
    registry().with(level).with(own).with(throttled).with(lines(config.json_logs(), writer))
}

/// Asks the throttle about every line that would be written.
struct Throttled(Arc<Throttle>);

impl<S: Subscriber> Layer<S> for Throttled {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.takes(event.metadata(), clock::now())
    }
}

fn lines<S, W>(json: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_timer(WholeSeconds);
    if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(false).boxed()
    }
}

/// The name that this crate's targets start with.
const OWN: &str = "lethewire";

struct WholeSeconds;

impl FormatTime for WholeSeconds {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", rfc3339(clock::unix_now()))
    }
}

/// Where in the source something happened.
struct Place<'a>(Option<&'a Location<'a>>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(place) => write!(f, "{}:{}", place.file(), place.line()),
            None => f.write_str("an unknown place"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::process::Command;
    use std::sync::Mutex;
    use std::time::Duration;

    use proptest::prelude::*;
    pub(crate) use serde_json::Value;

    use super::*;
    use crate::config::LogFormat;

    /// Collects lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `log` runs, as JSON.
    pub(crate) fn json_lines(log: impl FnOnce()) -> Vec<Value> {
        let lines = logged(LogFormat::Json, "trace", log);
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn logged(format: LogFormat, level: &str, log: impl FnOnce()) -> Vec<String> {
        let mut config = Config::default();
        config.log.format = format;
        level.clone_into(&mut config.log.level);
        logged_by(&config, &Arc::new(Throttle::new(0)), log)
    }

    fn logged_by(config: &Config, throttle: &Arc<Throttle>, log: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(config, Arc::clone(throttle), move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn json_lines_are_objects_with_times_in_whole_seconds() {
        let lines = logged(LogFormat::Json, "info", || tracing::info!(rooms = 3, "totals"));
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["message"], "totals");
        assert_eq!(line["rooms"], 3);
        assert_eq!(line["level"], "INFO");
        let time = line["timestamp"].as_str().unwrap();
        assert_eq!(time.len(), "2026-11-21T13:45:07Z".len(), "{time}");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }

    #[test]
    fn a_place_that_writes_too_much_is_cut_off_and_told_of_in_one_line() {
        let throttle = Arc::new(Throttle::new(5));
        let mut config = Config::default();
        config.log.format = LogFormat::Json;
        let mut line = 0;
        let lines = logged_by(&config, &throttle, || {
            for n in 0..100 {
                line = line!() + 1;
                tracing::info!(n, "again");
                tracing::debug!("not written, and so not counted");
            }
            tracing::info!("something else");
            let later = clock::now().after(Duration::from_secs(60));
            assert_eq!(tell(&throttle, later), 95);
            assert_eq!(tell(&throttle, later), 0);
        });
        let lines: Vec<Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages[..5], ["again"; 5]);
        assert_eq!(messages[5..], ["something else", "too many of the same, left out"]);
        assert_eq!((&lines[4]["n"], &lines[6]["lines"]), (&4.into(), &95.into()));
        assert_eq!(lines[6]["place"], format!("{}:{line}", file!()));
    }

    #[test]
    fn readable_lines_have_no_escape_sequences() {
        let lines = logged(LogFormat::Pretty, "info", || tracing::info!("totals"));
        assert!(lines[0].contains("INFO") && lines[0].ends_with("totals"), "{lines:?}");
        assert!(!lines[0].contains('\u{1b}'), "{lines:?}");
    }

    #[test]
    fn directives_choose_among_our_modules_and_never_bring_in_other_crates() {
        let log = || {
            tracing::trace!(target: "hyper::proto", "another crate");
            tracing::error!(target: "lethewirefoo", "another crate");
            tracing::trace!(target: "lethewire::hub", "the hub");
            tracing::debug!(target: "lethewire::conn", "a connection");
            tracing::info!(target: "lethewire", "the crate");
        };
        let count = |level| logged(LogFormat::Json, level, log).len();
        assert_eq!(count("trace"), 3);
        assert_eq!(count("trace,hyper=trace"), 3);
        assert_eq!(count("info"), 1);
        assert_eq!(count("info,lethewire::hub=trace"), 2);
        assert_eq!(count("off"), 0);
    }

    #[test]
    #[ignore = "ends in a panic; the next test runs it in a process of its own"]
    fn panics_with_a_message() {
        withhold_panic_messages();
        panic!("a canary");
    }

    /// As in a relay: lines are written, and connections are tasks on threads of a runtime.
    #[test]
    #[ignore = "ends in panics; the test after this one runs it in a process of its own"]
    fn panics_in_tasks_while_lines_are_written() {
        let mut config = Config::default();
        config.log.format = LogFormat::Json;
        "trace".clone_into(&mut config.log.level);
        init(&config);
        withhold_panic_messages();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let tasks = [
            runtime.spawn(async { String::from_utf8(vec![0xff]).map(drop).expect("a canary") }),
            runtime.spawn(async { assert_eq!("a canary", "b canary", "{}", "c canary") }),
            runtime.spawn(async { std::panic::panic_any(String::from("a canary")) }),
        ];
        for task in tasks {
            assert!(runtime.block_on(task).unwrap_err().is_panic());
        }
        std::thread::Builder::new()
            .name("canary".to_owned())
            .spawn(|| panic!("a canary"))
            .unwrap()
            .join()
            .unwrap_err();
    }

    /// What a test that ends in a panic prints on both streams, in a process of its own. Backtraces
    /// are asked for, as an operator may.
    fn printed_by(test: &str) -> (bool, [String; 2]) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("telemetry::tests::{test}"), "--ignored", "--nocapture"])
            .env("RUST_BACKTRACE", "full")
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
        (output.status.success(), printed)
    }

    #[test]
    fn a_panic_shows_its_place_and_not_its_message() {
        let (success, [stdout, stderr]) = printed_by("panics_with_a_message");
        assert!(!success && stdout.contains("1 failed"), "it did not run: {stdout}");
        assert!(stderr.contains("lethewire panicked at src/telemetry.rs:"), "{stderr}");
        assert!(!stdout.contains("canary") && !stderr.contains("canary"), "{stdout}{stderr}");
    }

    #[test]
    fn panics_of_connections_are_lines_with_a_place_and_nothing_else() {
        let (success, [stdout, stderr]) = printed_by("panics_in_tasks_while_lines_are_written");
        assert!(success, "{stdout}{stderr}");
        // The test's own name may stand before the first line.
        let objects = stdout.lines().filter_map(|line| line.get(line.find('{')?..));
        let lines: Vec<Value> = objects.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4, "{stdout}");
        for line in &lines {
            assert_eq!(line["message"], "panicked");
            assert!(line["place"].as_str().unwrap().starts_with("src/telemetry.rs:"), "{line}");
            let names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["level", "message", "place", "target", "timestamp"]);
        }
        assert!(!stdout.contains("canary") && !stderr.contains("canary"), "{stdout}{stderr}");
        assert!(!stderr.contains("backtrace"), "{stderr}");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_078_012_800, "2004-02-29T00:00:00Z"),
            (1_767_225_610, "2026-01-01T00:00:10Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(UnixSeconds(seconds)).to_string(), text);
        }
        // Far beyond any calendar it may print what it likes, but must not overflow.
        assert!(!rfc3339(UnixSeconds(u64::MAX)).to_string().is_empty());
    }

    proptest! {
        #[test]
        fn dates_agree_with_counting_days(target in 0..100_000_u64) {
            let every = |years: u64, year: u64| year.is_multiple_of(years);
            let leap = |year| every(4, year) && (!every(100, year) || every(400, year));
            let (mut year, mut month, mut rest) = (1970, 1, target);
            loop {
                let days = match month {
                    2 => 28 + u64::from(leap(year)),
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                if rest < days {
                    break;
                }
                rest -= days;
                (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            }
            prop_assert_eq!(date(target), (year, month, rest + 1));
        }
    }
}
