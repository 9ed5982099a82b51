#!/usr/bin/env bash
# Counts the instructions of the hot functions under valgrind.
#
#   bench/instructions.sh           compares with bench/instructions.json; the exit code is the result
#   bench/instructions.sh record    makes what was counted the bounds
#
# User space only and independent of the machine's load. What it installs lands in the git-ignored
# .test/, except for valgrind, a Debian package, which needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

source .ci/tools.sh

need_program valgrind valgrind
need_gungraun
mkdir -p "$TOOLS"
counts=$TOOLS/instructions.jsonl

# A room of a thousand is two thousand sockets, and a shell often begins with a limit of 1024.
(($(ulimit -S -n) >= 4096)) || ulimit -S -n 4096

# Two at a time: every function has a process of its own, and nothing is timed.
GUNGRAUN_RUNNER=$TOOLS/cargo/bin/gungraun-runner \
  cargo bench --locked --features lethewire/jemalloc -p lethewire-bench --bench instructions -- \
  --output-format=json --parallel=2 >"$counts"
cargo run --locked --release --quiet --features lethewire/jemalloc -p lethewire-bench --bin bench-instructions -- \
  "${1:-check}" bench/instructions.json <"$counts"
