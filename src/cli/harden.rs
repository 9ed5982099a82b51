//! What a process asks of the kernel before it serves: to keep its memory to itself, and room for files.

use std::io;
use std::os::fd::RawFd;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Switches off core dumps, and reading this process' memory by others of the same user.
///
/// The limit alone would not do: a kernel that pipes core dumps to a program ignores it.
pub(super) fn harden() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Raises the number of files that this process may have open as far as it is allowed, and returns
/// it; `None` is no limit.
///
/// A connection is a file, and the usual limit of 1024 is for programs that still use `select`.
pub(super) fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Has the kernel make room for this many open files at once.
///
/// The table of them otherwise doubles whenever it is full, and where threads share it, whoever opens
/// a file then waits until all cores have let go of the old one: some ten milliseconds in which nobody
/// is let in. So this is for before there are threads. Eight bytes for each file.
///
/// # Errors
///
/// More than the limit, or than there is memory for. Nothing is lost but time.
pub(super) fn make_room_for_files(count: u64) -> io::Result<()> {
    let last = RawFd::try_from(count.saturating_sub(1)).unwrap_or(RawFd::MAX);
    // Any file does: the table reaches to the copy's number, and stays as it is when that is closed.
    fcntl_dupfd_cloexec(io::stderr(), last)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn no_core_dump_and_as_many_files_as_allowed() {
        harden().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        let limit = raise_file_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
        assert_eq!(getrlimit(Resource::Nofile).maximum, limit);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_table_of_files_has_its_size_before_they_are_opened() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        raise_file_limit();
        let more = size() + 1;
        make_room_for_files(more).unwrap();
        assert!(size() >= more);
        assert!(make_room_for_files(u64::MAX).is_err(), "more than is allowed");
    }
}
