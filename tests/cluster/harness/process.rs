//! A program that ends with its test, whatever ends the test.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};

use super::random;

/// A running program.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says goes to a file of this name in the folder.
    pub(crate) fn start(command: &Command, folder: &Path, name: &str) -> Self {
        let (log, out) = log_of(folder, name);
        let mut mortal = mortal(command, &[], folder);
        mortal.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { child: mortal.spawn().expect("setpriv"), log }
    }

    /// The same, with listening sockets that are passed to it as systemd does.
    pub(crate) fn start_passed(
        command: &Command,
        sockets: &Sockets,
        folder: &Path,
        name: &str,
    ) -> Self {
        // What a child has from the beginning are these three, so that two of them come as another.
        const MOVE: &str = "exec 3<&0 4<&1 0</dev/null 1>&2; \
            LISTEN_FDS=2 LISTEN_FDNAMES=members:operations LISTEN_PID=$$ exec \"$@\"";
        let (log, out) = log_of(folder, name);
        let mut mortal = mortal(command, &["sh", "-c", MOVE, "sh"], folder);
        let copy = |socket: &TcpListener| socket.as_fd().try_clone_to_owned().unwrap();
        mortal.stdin(copy(&sockets.members)).stdout(copy(&sockets.operations)).stderr(out);
        Self { child: mortal.spawn().expect("setpriv"), log }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Checks that it has not ended.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("it ended ({status}):\n{}", self.said());
        }
    }

    /// Whether it has ended; it must not have failed.
    pub(crate) fn has_ended_well(&mut self) -> bool {
        let status = self.child.try_wait().unwrap();
        let is_well = status.is_none_or(|status| status.success());
        assert!(is_well, "it failed ({status:?}):\n{}", self.said());
        status.is_some()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The file for what it says, and that file opened.
fn log_of(folder: &Path, name: &str) -> (PathBuf, File) {
    let log = folder.join(format!("{name}.log"));
    let out = File::options().create(true).append(true).open(&log).unwrap();
    (log, out)
}

/// A command that ends also when this process is killed, behind another one if there is one.
fn mortal(command: &Command, before: &[&str], folder: &Path) -> Command {
    let mut mortal = Command::new("setpriv");
    mortal.args(["--pdeathsig", "KILL"]).args(before);
    mortal.arg(command.get_program()).args(command.get_args());
    mortal.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    mortal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    mortal.current_dir(folder);
    mortal
}

/// Listening sockets that are somebody else's than the relay's.
#[derive(Clone)]
pub(crate) struct Sockets {
    members: Arc<TcpListener>,
    operations: Arc<TcpListener>,
}

impl Sockets {
    /// On free ports.
    pub(crate) fn open() -> Self {
        let open = || Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        Self { members: open(), operations: open() }
    }
}

/// A port that nobody has, from below those that the kernel gives to connections.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = 12_000 + u16::from_le_bytes(random()) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The time of day of one process, which can be made to jump.
#[derive(Clone)]
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A right one. None where libfaketime is not installed.
    pub(crate) fn new(folder: &Path, name: &str) -> Option<Self> {
        Self::library()?;
        let clock = Self { file: folder.join(format!("{name}.clock")) };
        clock.jump("+0");
        Some(clock)
    }

    /// Wrong by so much from now on, as in `+3600`.
    pub(crate) fn jump(&self, by: &str) {
        // Replaced as a whole, so that nobody reads half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, by).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    /// What a process must have in its environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            pair("LD_PRELOAD", &Self::library().expect("checked when it was made")),
            pair("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            pair("FAKETIME_NO_CACHE", "1"),
            pair("DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    fn library() -> Option<String> {
        let mut folders = fs::read_dir("/usr/lib").ok()?.flatten();
        folders
            .find_map(|folder| {
                Some(folder.path().join("faketime/libfaketime.so.1")).filter(|f| f.exists())
            })
            .map(|file| file.to_str().unwrap().to_owned())
    }
}
