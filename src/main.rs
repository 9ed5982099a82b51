//! The binary: everything is in [`lethewire::cli`].

use std::process::ExitCode;

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    #[cfg(all(feature = "jemalloc", target_os = "linux"))]
    give_memory_back();
    lethewire::cli::main()
}

/// Has one thread of the allocator's give back what nobody used for a second. Where it cannot be had,
/// freed memory stays with the process, as with other allocators.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
fn give_memory_back() {
    use tikv_jemalloc_ctl::{Access as _, AsName as _};
    // For the arena that there is, and for those to come.
    for name in [&b"arena.0.dirty_decay_ms\0"[..], b"arenas.dirty_decay_ms\0"] {
        let _ = name.name().write(UNUSED_MS_MAX);
    }
    let _ = tikv_jemalloc_ctl::max_background_threads::write(1)
        .and_then(|()| tikv_jemalloc_ctl::background_thread::write(true));
}

/// How long memory may be unused, in milliseconds. The allocator's own ten seconds are longer than most
/// floods, and what slow members had waiting would still be there when the next ones come.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
const UNUSED_MS_MAX: isize = 1000;
