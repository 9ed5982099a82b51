//! A program that ends with its test, whatever ends the test.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        // It ends also when this process is killed.
        let mut mortal = Command::new("setpriv");
        mortal.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        mortal.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        mortal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        mortal.current_dir(folder).stdin(Stdio::null());
        let child = mortal.stderr(out.try_clone().unwrap()).stdout(out).spawn().expect("setpriv");
        Self { child, log }
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
