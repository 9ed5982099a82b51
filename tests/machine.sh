#!/usr/bin/env bash
# Runs a script on a machine that is this one, and is thrown away: everything that is installed here, a
# systemd of its own, an empty network, the project in /srv/lethewire. Needs root, and a kernel that gives
# namespaces and overlays.
#
#   machine.sh WORK
#
# WORK has the project in project/, a folder or a link to one, and the script as out/script; out/ is /out
# in there, and out/log what the script said. Every other file that is written is in memory, over what is
# here, and gone at the end. The exit code is the script's, or 124 after MACHINE_SECONDS (300).
set -euo pipefail
SELF=$(realpath "${BASH_SOURCE[0]}")
WORK=$(realpath "$1")
readonly SELF WORK

# Outside, with mounts of its own: whatever the machine starts is in one control group, which is removed
# behind it.
outside() {
  local groups=$WORK/groups group status=0
  mkdir "$groups"
  mount --make-rprivate /
  mount -t cgroup2 lethewire-machine "$groups"
  group=$groups/lethewire-machine-$$
  mkdir "$group"
  echo $$ >"$group/cgroup.procs"
  # In time for the group to be removed, whatever hangs inside; and whatever ends this ends the machine.
  setpriv --pdeathsig KILL timeout --kill-after=5 "${MACHINE_SECONDS:-300}" \
    setpriv --pdeathsig KILL unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child \
    "$SELF" "$WORK" --inside || status=$?
  echo $$ >"$groups/cgroup.procs"
  echo 1 >"$group/cgroup.kill"
  until grep -qx 'populated 0' "$group/cgroup.events"; do
    timeout 0.1 tail --follow /dev/null || true
  done
  find "$group" -depth -type d -exec rmdir {} +
  umount "$groups"
  rmdir "$groups"
  return "$status"
}

case ${2-} in
  --inside) ;;
  --outside)
    outside
    exit
    ;;
  *) exec unshare --mount "$SELF" "$WORK" --outside ;;
esac

mkdir "$WORK/layer"
mount -t tmpfs -o mode=755 lethewire-machine "$WORK/layer"
mkdir "$WORK"/layer/{over,work,root,project,scratch}
mount -t overlay lethewire-machine "$WORK/layer/root" \
  -o "lowerdir=/,upperdir=$WORK/layer/over,workdir=$WORK/layer/work"
cd "$WORK/layer/root"
mkdir -p srv/lethewire out
mount -t overlay lethewire-machine srv/lethewire \
  -o "lowerdir=$(realpath "$WORK/project"),upperdir=$WORK/layer/project,workdir=$WORK/layer/scratch"
mount --bind "$WORK/out" out

# The kernel's settings are everybody's: only those of this network can be changed.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 run run
# No disk and no terminal.
mount -t tmpfs -o mode=755 dev dev
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
  IFS=: read -r name major minor <<<"$device"
  mknod -m 666 "dev/$name" c "$major" "$minor"
done
mkdir dev/{shm,pts,mqueue}
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t devpts devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do
  ln -s "fd/${stream%:*}" "dev/${stream#*:}"
done
# The names and addresses that documents use (RFC 2606, RFC 5737) are this machine's.
ip link set lo up
ip address add 203.0.113.10/32 dev lo
hostname relay-1
printf '%s\n' '127.0.0.1 localhost relay-1' '203.0.113.10 relay.example.org' >etc/hosts
sed -i 's/^hosts:.*/hosts: files/' etc/nsswitch.conf
: >etc/fstab
: >etc/machine-id

mkdir -p run/systemd/system
cat >run/systemd/system/machine.target <<'UNIT'
[Unit]
DefaultDependencies=no
Requires=script.service
AllowIsolate=yes
UNIT
cat >run/systemd/system/script.service <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
After=systemd-journald.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
WorkingDirectory=/srv/lethewire
Environment=HOME=/root TERM=dumb LANG=C.UTF-8
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/bash /out/script
StandardOutput=file:/out/log
StandardError=file:/out/log
UNIT

# Not chroot, in which no service could have users of its own.
mkdir old
pivot_root . old
cd /
umount --lazy /old
rmdir /old
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=machine.target
