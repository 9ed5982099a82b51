//! What the system and the runtime say of this process. Linux tells; elsewhere these are zeros.
//!
//! Read when somebody asks, from files that no disk is behind (`proc_pid_stat(5)`). There is no
//! safe way to ask the C library's allocator what it holds, so resident memory stands for it.

use std::fs;
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;

/// Figures of the process.
#[derive(Clone, Copy, Default)]
pub(super) struct Process {
    /// Processor time of all threads, in hundredths of a second.
    pub(super) cpu_centis: u64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
    /// Since 1970, in hundredths of a second.
    pub(super) start_centis: u64,
    pub(super) threads: u64,
}

/// Figures of the runtime that the connections run on.
#[derive(Clone, Copy, Default)]
pub(super) struct Runtime {
    pub(super) workers: u64,
    pub(super) tasks: u64,
    pub(super) global_queue: u64,
    /// Time that the workers were busy, all together, in microseconds.
    pub(super) busy_us: u64,
}

impl Process {
    /// The figures of this moment; zeros for what the system does not tell.
    pub(super) fn read() -> Self {
        let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return Self::default() };
        let page = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let Some(stat) = Stat::parse(&stat) else { return Self::default() };
        let centis = |in_ticks: u64| in_ticks.saturating_mul(100) / ticks;
        Self {
            cpu_centis: centis(stat.user + stat.system),
            resident_bytes: stat.resident_pages.saturating_mul(page),
            virtual_bytes: stat.virtual_bytes,
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current.unwrap_or(0),
            start_centis: boot_s() * 100 + centis(stat.start),
            threads: stat.threads,
        }
    }
}

impl Runtime {
    /// The figures of this moment.
    pub(super) fn read(runtime: &Handle) -> Self {
        let metrics = runtime.metrics();
        let workers = metrics.num_workers();
        let busy = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker));
        let micros = busy.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        Self {
            workers: workers as u64,
            tasks: metrics.num_alive_tasks() as u64,
            global_queue: metrics.global_queue_depth() as u64,
            busy_us: micros.fold(0, u64::saturating_add),
        }
    }
}

/// What is wanted of `/proc/self/stat`; times in ticks of the clock.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    user: u64,
    system: u64,
    threads: u64,
    start: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// The program's name stands in brackets and may contain any; the fields begin behind the last
    /// one, with the third.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            user: field(14)?,
            system: field(15)?,
            threads: field(20)?,
            start: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// How many descriptors are open. Since Linux 6.2 the folder's size says so; before, its entries are
/// counted, which takes a millisecond for a few thousand.
fn open_fds() -> u64 {
    const FDS: &str = "/proc/self/fd";
    match fs::metadata(FDS) {
        Ok(told) if told.len() > 0 => told.len(),
        // One of them is the folder itself.
        _ => fs::read_dir(FDS).map_or(0, |entries| (entries.count() as u64).saturating_sub(1)),
    }
}

/// When the system was started, in seconds since 1970; read once, because that file is long.
fn boot_s() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        boot_time(&stat).unwrap_or(0)
    })
}

fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let text = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 70 30 13 14 15 16 8 18 500 4096 12 99 0";
        let stat = Stat::parse(text).expect("whole");
        assert_eq!((stat.user, stat.system, stat.threads), (70, 30, 8));
        assert_eq!((stat.start, stat.virtual_bytes, stat.resident_pages), (500, 4096, 12));
        for bad in ["", "1 (x", "1 (x) S 1 2", &text.replace("4096", "x")] {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
        assert_eq!(boot_time("cpu 1 2\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_all_of_it() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20 && process.virtual_bytes > process.resident_bytes);
        assert!(process.open_fds > 2 && process.max_fds >= process.open_fds);
        assert!(process.threads > 1 && process.start_centis > 170_000_000_000);
        let files: Vec<_> =
            (0..10).map(|_| fs::File::open("/proc/self/stat").expect("open")).collect();
        assert!(open_fds() >= files.len() as u64 + 3);
    }
}
