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

/// Has one thread of the allocator's give back what nobody used for ten seconds. Where it cannot be had,
/// freed memory stays with the process, as with other allocators.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
fn give_memory_back() {
    let _ = tikv_jemalloc_ctl::max_background_threads::write(1)
        .and_then(|()| tikv_jemalloc_ctl::background_thread::write(true));
}
