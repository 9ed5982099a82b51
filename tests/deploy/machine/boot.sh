#!/usr/bin/env bash
# Boots systemd in namespaces of its own, over a copy of this machine that is thrown away, and runs a
# program in it: packages are installed, services started and users made without a trace here.
#
#   boot.sh FOLDER PROGRAM [ARGUMENT…]
#
# FOLDER is the same inside and outside. Its file `output` has what the program said; the exit code is
# the program's, or 124 after MACHINE_SECONDS. Needs root, and a kernel that gives namespaces and overlays.
set -euo pipefail
SELF=$(realpath "${BASH_SOURCE[0]}")
FOLDER=$(realpath "$1")
readonly SELF FOLDER

# Outside, with mounts of its own: everything below is in one control group, which is removed again.
outside() {
  local groups=$FOLDER/groups group status=0
  mkdir "$groups"
  mount --make-rprivate /
  mount -t cgroup2 none "$groups"
  group=$groups/lethewire-machine-$$
  mkdir "$group"
  echo $$ >"$group/cgroup.procs"
  # In time for the groups to be removed, whatever hangs inside.
  timeout --kill-after=5 "${MACHINE_SECONDS:-100}" unshare --kill-child --fork --pid --uts --ipc --net --cgroup --mount \
    "$SELF" "$FOLDER" --inside "${@:2}" || status=$?
  echo $$ >"$groups/cgroup.procs"
  echo 1 >"$group/cgroup.kill"
  for _ in {1..100}; do
    grep -qx 'populated 0' "$group/cgroup.events" && break
    timeout 0.05 tail --follow /dev/null || true
  done
  find "$group" -depth -type d -exec rmdir {} +
  umount "$groups"
  rmdir "$groups"
  return "$status"
}

# Inside: the copy, with nothing of this machine's services, becomes the root.
inside() {
  local top=$FOLDER/top project
  project=$(git -C "$(dirname "$SELF")" rev-parse --show-toplevel)
  mkdir "$top"
  mount -t tmpfs -o size=1g machine "$top"
  mkdir "$top"/{upper,work,root}
  mount -t overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" machine "$top/root"
  cd "$top/root"
  mount -t proc proc proc
  make_devices
  mount -t sysfs -o ro sysfs sys
  mount -t tmpfs run run
  mount -t tmpfs tmp tmp
  mount -t cgroup2 cgroup sys/fs/cgroup
  mkdir -p ".$FOLDER" ".$project"
  mount --bind "$FOLDER" ".$FOLDER"
  mount --bind -o ro "$project" ".$project"
  rm -rf etc/fstab etc/systemd/system lib/systemd/system-generators lib/systemd/system/*.wants \
    lib/systemd/system/{systemd-journald,dbus}*
  mkdir etc/systemd/system
  write_unit "$@" >etc/systemd/system/machine.service
  ip link set lo up
  mkdir old
  pivot_root . old
  umount -l old
  rmdir old
  # Credentials come into a service from a namespace beside it.
  mount --make-rshared /
  exec env -i container=machine PATH="$PATH" /lib/systemd/systemd --system --unit=machine.service \
    --log-target=null --show-status=0
}

# Only devices that cannot do harm, and in a folder of their own: systemd adds to it.
make_devices() {
  local name
  mount -t tmpfs -o mode=755 dev dev
  for name in null zero full random urandom tty; do
    touch "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
  done
  mkdir dev/shm dev/pts
  mount -t tmpfs shm dev/shm
  mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
}

write_unit() {
  printf '[Unit]\nSuccessAction=exit-force\nFailureAction=exit-force\n[Service]\nType=oneshot\n'
  printf 'StandardOutput=append:%s\nStandardError=inherit\n' "$FOLDER/output"
  printf 'Environment="PATH=%s"\nExecStart=' "$PATH"
  printf '"%s" ' "$@"
  printf '\n'
}

case ${2-} in
  --inside) shift 2 && inside "$@" ;;
  --outside) shift 2 && outside "$FOLDER" "$@" ;;
  *) exec unshare --mount "$SELF" "$FOLDER" --outside "${@:2}" ;;
esac
