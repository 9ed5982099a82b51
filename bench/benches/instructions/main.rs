//! Instructions of the hot functions, counted by valgrind and compared with `bench/instructions.json`.
//!
//! Time on a shared machine says little about a change of a few percent; the number of instructions
//! in user space is the same in every run. So this is what guards against regressions. What the
//! kernel does is not in it. Each function is driven through the crate's public interface, prepared
//! outside of the count, and counted once.
//!
//! * `parts`: single steps of the hot path, by themselves;
//! * `relay`: the whole way of messages and of a handshake, from one socket to the others.

mod parts;
mod relay;
mod stage;

use crate::parts::parts_group;
use crate::relay::relay_group;
use gungraun::{Callgrind, LibraryBenchmarkConfig, main};

main!(
    // The caches of the simulated processor are nobody's; only instructions count.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [parts_group, relay_group]
);
