#!/usr/bin/env bash
# Measures the relay beside its peers, and checks every delivery.
#
#   bench/run.sh              everything: all workloads, one and two cores, growth; BENCHMARKS.md
#   bench/run.sh quick        under two minutes, correctness only: the exit code is the result
#   bench/run.sh W2 --peers lethewire,uws,bun      some workloads, printed and not written
#
# Cores: SERVER_CORES (0), SERVER_CORES_TWO (0,1), GENERATOR_CORES (2,3; where there are fewer than
# four, the last one, which is enough to check deliveries and too little to measure). What it installs lands in
# the git-ignored .test/bench, except for Debian packages, which need root.
set -euo pipefail
cd "$(dirname "$0")/.."

source .ci/tools.sh

readonly BENCH=$TOOLS/bench
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
readonly RESULTS=$BENCH/results.jsonl
cores=$(nproc)
generator=2,3
((cores >= 4)) || generator=$((cores - 1))
readonly SERVER_CORES=${SERVER_CORES:-0} SERVER_CORES_TWO=${SERVER_CORES_TWO:-0,1}
readonly GENERATOR_CORES=${GENERATOR_CORES:-$generator}

# Each peer has its version, so that two runs of this script measure the same.
readonly BUN=1.4.5 WS=8.23.0 SOCKETIFY=0.0.31

build() {
  cargo build --locked --release -p lethewire -p lethewire-bench
}

install_npm() {
  local stamp=$BENCH/npm-$BUN-$WS
  [[ -e $stamp ]] && return
  need_program npm npm
  # Bun's own script links its program into place.
  (cd "$BENCH" && npm init -y >/dev/null &&
    retry npm install --no-audit --no-fund "bun@$BUN" "ws@$WS")
  touch "$stamp"
}

install_uws() {
  [[ $BENCH/uws -nt bench/peers/uws.c ]] && return
  need_program cc gcc
  [[ -x $BENCH/py/bin/pip ]] || python3 -m venv "$BENCH/py"
  retry "$BENCH/py/bin/pip" install --quiet "socketify==$SOCKETIFY"
  ldconfig -p | grep -q 'libuv\.so\.1' || install_packages libuv1
  local library
  library=$(find "$BENCH/py" -name libsocketify_linux_amd64.so -print -quit)
  cc -O2 bench/peers/uws.c -o "$BENCH/uws" "$library" -l:libuv.so.1 -lz \
    -Wl,-rpath,"$(dirname "$library")"
}

install_nchan() {
  [[ -e /usr/lib/nginx/modules/ngx_nchan_module.so ]] ||
    install_packages nginx-core libnginx-mod-nchan
}

# Installs the peers of a list like "lethewire,uws,bun".
install_peers() {
  local peer
  need_program taskset util-linux
  for peer in ${1//,/ }; do
    case $peer in
      bun | ws) install_npm ;;
      uws) install_uws ;;
      nchan) install_nchan ;;
    esac
  done
}

bench() {
  "$TARGET/release/lethewire-bench" run --tools "$BENCH" --generator-cores "$GENERATOR_CORES" "$@"
}

quick() {
  # Only the relay and our own bare server: nothing to install.
  bench --size quick --runs 1 --peers lethewire,epoll --cores "$SERVER_CORES"
  bench --size quick --runs 1 --peers lethewire --cores "$SERVER_CORES_TWO" W1 W1b W2 W3 W7
}

full() {
  local peers=lethewire,epoll,uws,bun,ws,nchan
  install_peers "$peers"
  : >"$RESULTS"
  bench --runs 3 --peers "$peers" --cores "$SERVER_CORES" --results "$RESULTS"
  bench --runs 3 --peers lethewire,nchan --cores "$SERVER_CORES_TWO" --results "$RESULTS" \
    W1 W1b W2 W3 W7
  bench --runs 3 --peers lethewire,epoll,bun --cores "$SERVER_CORES" --results "$RESULTS" growth
  "$TARGET/release/lethewire-bench" report --results "$RESULTS"
}

mkdir -p "$BENCH"
build
case ${1:-full} in
  quick) quick ;;
  full) full ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" ;;
  *)
    peers=lethewire,epoll,uws,bun
    for ((i = 1; i <= $#; i++)); do
      next=$((i + 1))
      [[ ${!i} == --peers ]] && peers=${!next}
    done
    install_peers "$peers"
    bench --cores "$SERVER_CORES" "$@"
    ;;
esac
