//! What was found: one run, and a file of runs with a JSON object per line. What is made of it is
//! [`crate::pages`]'s.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::measure::Found;
use crate::peers::Peer;
use crate::process::said_by;
use crate::workload::{Kind, Workload};

/// When and where runs were made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The day.
    pub date: String,
    /// The processor.
    pub machine: String,
    /// Linux's release.
    pub kernel: String,
    /// How many processes wanted a core when it began, the kernel's average of a minute.
    #[serde(default)]
    pub busy: String,
    /// The commit that the relay was built from.
    pub commit: String,
    /// What each server says of its version.
    #[serde(default)]
    pub versions: BTreeMap<Peer, String>,
    /// Cores of the server.
    pub cores: String,
    /// Cores of the generator.
    pub generator_cores: String,
}

/// One run of a workload on one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// When and where.
    pub session: Session,
    /// What was asked.
    pub workload: Workload,
    /// Of whom.
    pub peer: Peer,
    /// Runs of one number were made one after the other.
    pub number: u32,
    /// What was found; nothing if the run failed.
    pub found: Found,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What tells a run from others: the workload's name, the server's cores, the server, the number.
pub type Key = (String, String, Peer, u32);

/// See [`Key`].
pub fn key(run: &Run) -> Key {
    (run.workload.name.clone(), run.session.cores.clone(), run.peer, run.number)
}

impl Session {
    /// Here and now, with a relay that was built from this commit.
    pub fn now(commit: String, cores: &str, generator_cores: &str) -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
        Self {
            date: said_by("date", &["+%Y-%m-%d"]),
            machine: format!("{count} cores of {model}"),
            kernel: said_by("uname", &["-r"]),
            commit,
            versions: BTreeMap::new(),
            busy: load_average(),
            cores: cores.into(),
            generator_cores: generator_cores.into(),
        }
    }
}

fn load_average() -> String {
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').next().unwrap_or_default().to_owned()
}

impl Run {
    /// One line for the terminal.
    pub fn line(&self) -> String {
        let Found {
            deliveries_per_s,
            megabytes_per_s,
            p50_us,
            p99_us,
            cpu_us_per_delivery,
            cpu_cores,
            resident_mib,
            ..
        } = self.found;
        let (name, peer) = (&self.workload.name, self.peer.title());
        if let Some(why) = &self.failure {
            return format!("{name:<12} {peer:<14} FAILED: {why}");
        }
        match self.workload.kind {
            Kind::Talk(_) => format!(
                "{name:<12} {peer:<14} {deliveries_per_s:>10.0}/s {megabytes_per_s:>7.1} MB/s  \
                 p50 {p50_us:>8.0} p99 {p99_us:>8.0} µs  {cpu_us_per_delivery:>7.3} µs CPU each, \
                 {cpu_cores:.2} cores  {resident_mib:>6.1} MiB  {} checked",
                self.found.checked
            ),
            Kind::Idle(..) | Kind::Churn(..) => format!(
                "{name:<12} {peer:<14} {:>10.0} joins/s  {:>7.1} µs CPU each  {:>7.0} B each  \
                 {resident_mib:>6.1} MiB",
                self.found.joins_per_s, self.found.cpu_us_per_join, self.found.bytes_per_connection
            ),
        }
    }

    /// Adds it to a file.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn append_to(&self, file: &Path) -> Result<(), Fault> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(file, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

/// Reads a file of runs. Of a run that was made again, the last counts.
///
/// # Errors
///
/// The file's, or a line that is no run.
pub fn read(file: &Path) -> Result<Vec<Run>, Fault> {
    let text = fs::read_to_string(file)?;
    let mut runs: Vec<Run> = Vec::new();
    let mut places = BTreeMap::new();
    for line in text.lines() {
        let run: Run = serde_json::from_str(line)?;
        match places.entry(key(&run)) {
            Entry::Occupied(place) => runs[*place.get()] = run,
            Entry::Vacant(place) => {
                place.insert(runs.len());
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

/// The commits that runs were made with.
pub fn commits(runs: &[Run]) -> BTreeSet<&str> {
    runs.iter().map(|run| run.session.commit.as_str()).collect()
}
