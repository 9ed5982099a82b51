#!/usr/bin/env bash
# Runs a command with a Docker engine of its own, which nobody else has and which ends with it.
#
# usage: engine.sh FOLDER COMMAND [ARGUMENT…]
#
# The engine, what it starts and the command live in namespaces of their own: of networks (with
# nothing but a loopback, so that nothing is downloaded and every port is free), of mounts and of
# processes. All three are gone when the command ends, however it ends. Images stay in FOLDER, for the
# next time. Needs root, as an engine does.
set -euo pipefail

# Where the engine puts its containers among the control groups, which have no namespace here.
readonly GROUP=lethewire-$$
# The engine's own files; the path of a socket must be short.
run=
child=

main() {
  local folder=$1
  shift
  [[ $(id -u) == 0 ]] || die "an engine of its own needs root"
  mkdir -p "$folder"
  # Two engines must not share a folder.
  exec 9>"$folder/.lock"
  flock --nonblock 9 || die "somebody else uses $folder"
  run=$(mktemp -d)
  trap finish EXIT
  trap 'exit 143' TERM
  unshare --net --mount --pid --fork --kill-child --mount-proc \
    "$BASH" "$0" --inside "$GROUP" "$run" "$folder" "$@" 9>&- &
  child=$!
  local status=0
  wait "$child" || status=$?
  exit "$status"
}

# Nothing outlives this script: everything is in the child's namespaces.
# shellcheck disable=SC2317,SC2329 # The trap calls it.
finish() {
  if kill -KILL "$child" 2>/dev/null; then
    wait "$child" || :
  fi
  remove_groups
  rmdir "$run"
}

inside() {
  local group=$1 folder=$3
  run=$2
  shift 3
  mount --make-rprivate /
  ip link set lo up
  mount -t tmpfs tmpfs "$run"
  # Debian's client is the one that fits its engine; another one may come first in PATH.
  mkdir "$run/bin"
  ln -s /usr/bin/docker /usr/bin/docker-compose "$run/bin/"
  export PATH=$run/bin:$PATH:/usr/sbin
  export DOCKER_HOST=unix://$run/socket DOCKER_BUILDKIT=1 DOCKER_CONFIG=$run/config
  dockerd --data-root "$folder" --exec-root "$run/exec" --pidfile "$run/pid" --host "$DOCKER_HOST" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$group" >"$run/log" 2>&1 &
  local engine=$! status=0
  await_engine "$engine"
  "$@" || status=$?
  kill "$engine"
  wait "$engine" || true
  ((status == 0)) || tail -n 20 "$run/log" >&2
  exit "$status"
}

await_engine() {
  local deadline=$((SECONDS + 60))
  until docker version >/dev/null 2>&1; do
    if ! kill -0 "$1" 2>/dev/null || ((SECONDS > deadline)); then
      cat "$run/log" >&2
      die "the Docker engine did not start; it needs root, namespaces, control groups and iptables"
    fi
    read -rt 0.1 <> <(:) || :
  done
}

# Also those of containers that did not end by themselves; the kernel takes a moment to let go of them.
# shellcheck disable=SC2317,SC2329 # So does this.
remove_groups() {
  local deadline=$((SECONDS + 10))
  while [[ -n $(find /sys/fs/cgroup -depth -type d -path "*/$GROUP*" -print -exec rmdir {} ';' 2>/dev/null) ]]; do
    ((SECONDS < deadline)) || break
  done
}

die() {
  printf 'engine.sh: %s\n' "$*" >&2
  exit 1
}

if [[ $1 == --inside ]]; then
  shift
  inside "$@"
else
  main "$@"
fi
