#!/usr/bin/env bash
# Measures the relay beside its peers, and checks every delivery.
#
#   bench/run.sh              all workloads, one and two cores, growth; writes BENCHMARKS.md. About half
#                             an hour on four cores; the first time as long again to install the peers.
#   bench/run.sh resume       goes on where that was stopped
#   bench/run.sh report       writes BENCHMARKS.md again, from what was measured (--mixed: although
#                             it was measured at several commits)
#   bench/run.sh quick        under two minutes, correctness only: the exit code is the result
#   bench/run.sh capacity     whether the generator takes in and checks 3 million frames/s
#   bench/run.sh W2 --peers lethewire,uws,bun      some workloads, printed and not written
#
# Cores: SERVER_CORES (0), SERVER_CORES_TWO (0,1), GENERATOR_CORES (2,3; where there are fewer than
# four, the last one, which is enough to check deliveries and too little to measure). RUNS (7) is how
# many rounds all of it has; what nothing was aimed at takes part in a third of them, and peers that are
# not close in the first. What it installs lands in the git-ignored .test/, except for Debian packages,
# which need root. A peer that cannot be installed is left out.
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
readonly GENERATOR_CORES=${GENERATOR_CORES:-$generator} RUNS=${RUNS:-7}
readonly PEERS=lethewire,epoll,epollheads,uring,uws,bun,ws,nchan,nats,mosquitto,socketio,sockudo

# Each peer has its version, so that two runs of this script measure the same. What Debian packages is
# as its release has it; the report says which that was.
readonly BUN=1.4.5 WS=8.23.0 SOCKETIO=4.8.4 SOCKETIFY=0.0.31 SOCKUDO=4.5.2

build() {
  need_program make make
  # One after the other, so that the relay is built with what it is released with.
  cargo build --locked --release --features jemalloc
  cargo build --locked --release -p lethewire-bench
  # Results say which commit was measured, and not which is there when somebody reads them.
  "$TARGET/release/lethewire-bench" note
}

install_npm() {
  local stamp=$BENCH/npm-$BUN-$WS-$SOCKETIO
  [[ -e $stamp ]] && return
  need_program npm npm
  # Bun's own script links its program into place.
  (cd "$BENCH" && npm init -y >/dev/null &&
    retry npm install --no-audit --no-fund "bun@$BUN" "ws@$WS" "socket.io@$SOCKETIO")
  touch "$stamp"
}

install_uws() {
  [[ $BENCH/uws -nt bench/peers/uws.c && $BENCH/uws -nt bench/run.sh ]] && return
  need_program cc gcc
  [[ -x $BENCH/py/bin/pip ]] || python3 -m venv "$BENCH/py"
  retry "$BENCH/py/bin/pip" install --quiet "socketify==$SOCKETIFY"
  ldconfig -p | grep -q 'libuv\.so\.1' || install_packages libuv1
  local library
  library=$(find "$BENCH/py" -name libsocketify_linux_amd64.so -print -quit)
  # Found from where the program is: the folder may be moved, or linked to from another copy.
  local folder=${library%/*}
  cc -O2 bench/peers/uws.c -o "$BENCH/uws" -L"$folder" "-l:${library##*/}" -l:libuv.so.1 -lz \
    -Wl,-rpath,"\$ORIGIN${folder#"$BENCH"}"
}

install_nchan() {
  [[ -e /usr/lib/nginx/modules/ngx_nchan_module.so ]] ||
    install_packages nginx-core libnginx-mod-nchan
}

install_nats() {
  need_program nats-server nats-server
}

install_mosquitto() {
  need_program mosquitto mosquitto
}

install_sockudo() {
  # A crate below it reads protocol buffers while it is built, and another wants tokio's inner counts.
  [[ -e /usr/include/google/protobuf/timestamp.proto ]] || install_packages libprotobuf-dev
  need_program protoc protobuf-compiler
  need_crate sockudo "$SOCKUDO" sockudo --config 'build.rustflags=["--cfg","tokio_unstable"]'
}

# Installs the peers of a list like "lethewire,uws,bun".
install_peers() {
  local peer name status
  need_program taskset util-linux setpriv util-linux
  for peer in ${1//,/ }; do
    case $peer in
      bun | ws | socketio) name=npm ;;
      uws | nchan | nats | mosquitto | sockudo) name=$peer ;;
      *) continue ;;
    esac
    # Not in an `if`: there, bash would go on behind a failed command.
    set +e
    (set -e; "install_$name")
    status=$?
    set -e
    ((status == 0)) || printf 'cannot be installed: %s\n' "$peer" >&2
  done
}

bench() {
  local what=$1
  shift
  "$TARGET/release/lethewire-bench" "$what" --tools "$BENCH" --generator-cores "$GENERATOR_CORES" \
    --cores "$SERVER_CORES" "$@"
}

quick() {
  # Only the relay and our own bare server: nothing to install.
  bench run --size quick --runs 1 --peers lethewire,epoll
  bench run --size quick --runs 1 --peers lethewire --cores "$SERVER_CORES_TWO" W1 W1b W2 W3 W7
}

full() {
  local status=0
  install_peers "$PEERS"
  bench full --runs "$RUNS" --peers "$PEERS" --two-cores "$SERVER_CORES_TWO" \
    --results "$RESULTS" "$@" || status=$?
  report
  return "$status"
}

report() {
  "$TARGET/release/lethewire-bench" report --results "$RESULTS" "$@"
}

mkdir -p "$BENCH"
case ${1:-full} in
  -h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
    ;;
esac
build
case ${1:-full} in
  quick) quick ;;
  full) full ;;
  resume) full --resume ;;
  report) report "${@:2}" ;;
  capacity) bench run --peers epoll --runs 3 --at-least 3000000 W1b W2 ;;
  *)
    peers=lethewire,epoll,uws,bun
    for ((i = 1; i <= $#; i++)); do
      next=$((i + 1))
      [[ ${!i} == --peers ]] && peers=${!next}
    done
    install_peers "$peers"
    bench run "$@"
    ;;
esac
