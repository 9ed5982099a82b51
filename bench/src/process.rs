//! A server under test: a process on given cores, with its children, and what the kernel says of it.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fault;

/// How long a server may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to end when asked, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// The kernel's clock ticks per second; fixed for user space on Linux.
const TICKS_PER_S: f64 = 100.0;

/// A free port of loopback, from below those that the kernel gives to connections: a connection that
/// ended a while ago can still hold one of those, and not every server binds over it.
///
/// # Errors
///
/// There is none.
pub fn free_port() -> Result<u16, Fault> {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        let mut random = [0; 2];
        getrandom::fill(&mut random)?;
        let port = 12_000 + u16::from_le_bytes(random) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}

/// A running server. Dropping it ends it.
pub struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts a program on these cores (as `taskset` takes them) and waits until it listens. What
    /// it has to say goes to the file `log`.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen.
    pub fn start(command: &Command, cores: &str, port: u16, log: &Path) -> Result<Self, Fault> {
        // It ends with the benchmark also when that is killed.
        let mut pinned = Command::new("setpriv");
        pinned.args(["--pdeathsig", "TERM", "taskset", "-c"]).arg(cores);
        pinned.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            pinned.env(name, value.unwrap_or_default());
        }
        if let Some(folder) = command.get_current_dir() {
            pinned.current_dir(folder);
        }
        let child = pinned
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log)?)
            .spawn()?;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self { child, addr };
        let begun = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("the server ended ({status}), see {}", log.display()).into());
            }
            if begun.elapsed() > START_PATIENCE {
                return Err("the server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// CPU time that it and its children have used, in seconds.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn cpu_s(&self) -> Result<f64, Fault> {
        tree(self.child.id()).into_iter().map(cpu_s).sum()
    }

    /// How many descriptors it has open, without its children: its sockets, and a few more.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn descriptors(&self) -> Result<usize, Fault> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Resident memory of it and its children, in bytes.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn resident_bytes(&self) -> Result<u64, Fault> {
        self.sum("smaps_rollup", "Rss:")
    }

    /// The most that each of them ever had, in bytes.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn peak_bytes(&self) -> Result<u64, Fault> {
        self.sum("status", "VmHWM:")
    }

    /// The sum of a line in KiB of a file of the kernel's about each process.
    fn sum(&self, file: &str, name: &str) -> Result<u64, Fault> {
        let mut bytes = 0;
        for pid in tree(self.child.id()) {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no such line")?;
            bytes += kib.parse::<u64>()? * 1024;
        }
        Ok(bytes)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        // A signal rather than `kill`, so that children which a server started end with it.
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        let _ = Command::new("kill").arg("-TERM").arg(&pid).status();
        let begun = Instant::now();
        while begun.elapsed() < STOP_PATIENCE {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
        for pid in tree(self.child.id()) {
            let _ = Command::new("kill").arg("-KILL").arg(pid.to_string()).status();
        }
        let _ = self.child.wait();
    }
}

/// CPU time that this process has used, in seconds.
///
/// # Errors
///
/// The kernel does not tell.
pub fn own_cpu_s() -> Result<f64, Fault> {
    cpu_s(std::process::id())
}

/// CPU time that all together have used on this machine, or its host has taken away, in seconds.
///
/// # Errors
///
/// The kernel does not tell.
pub fn machine_cpu_s() -> Result<f64, Fault> {
    let ticks = machine_ticks()?;
    // Field 3 is idle and 4 waits for disks; from 8 on are guests, who are in the others already.
    let busy = ticks.iter().take(8).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>();
    Ok(busy as f64 / TICKS_PER_S)
}

/// CPU time that the machine's host has taken away from it, in seconds: work was there and no
/// processor to do it. Zero on a machine that has no host, or one that does not tell.
///
/// # Errors
///
/// The kernel does not tell.
pub fn machine_stolen_s() -> Result<f64, Fault> {
    Ok(machine_ticks()?.get(7).copied().unwrap_or_default() as f64 / TICKS_PER_S)
}

/// What all processors together have spent with what, in the order of proc(5), in clock ticks.
fn machine_ticks() -> Result<Vec<u64>, Fault> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    Ok(fields.map(str::parse).collect::<Result<_, _>>()?)
}

/// CPU time that a process has used, in seconds.
fn cpu_s(pid: u32) -> Result<f64, Fault> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may have blanks; utime and stime are fields 14 and 15.
    let (_, rest) = stat.rsplit_once(") ").ok_or("an odd stat")?;
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = 0;
    for _ in 0..2 {
        ticks += fields.next().ok_or("a short stat")?.parse::<u64>()?;
    }
    Ok(ticks as f64 / TICKS_PER_S)
}

/// A process and all that came from it.
fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    all
}

/// Binds this process to these cores, and says how many they are.
///
/// # Errors
///
/// They are not numbers, or not there.
pub fn pin(cores: &str) -> Result<u32, Fault> {
    let mut set = rustix::thread::CpuSet::new();
    let mut count = 0;
    for core in cores.split(',') {
        set.set(core.trim().parse()?);
        count += 1;
    }
    rustix::thread::sched_setaffinity(None, &set)?;
    Ok(count)
}

/// Has the kernel make room at once for all files that this process may have open; it otherwise stops the
/// threads for some ten milliseconds whenever there are twice as many, and the server waits for them.
///
/// # Errors
///
/// There is no memory for it.
pub fn make_room_for_files() -> Result<(), Fault> {
    const MOST: u64 = 1 << 16;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let last = limit.unwrap_or(MOST).min(MOST) - 1;
    rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), i32::try_from(last)?)?;
    Ok(())
}

/// What a program prints, on one line; nothing if it cannot be run.
pub fn said_by(program: &str, arguments: &[&str]) -> String {
    let said = Command::new(program).args(arguments).output();
    let text = said.map(|said| [said.stdout, said.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

/// Whether a program is there: at this path, or by this name in `PATH`.
pub fn is_there(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root looks.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .any(|folder| folder.join(program).exists())
}
