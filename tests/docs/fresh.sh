#!/usr/bin/env bash
# Runs a script on a machine that is this one, and is thrown away: everything that is installed here, a
# systemd of its own, an empty network, a copy of the project in /srv/lethewire. Needs root.
#
# usage: unshare --mount fresh.sh <work folder>
#
# The work folder has the project's copy in project/ and the script as out/script; out/ is /out in there.
# Every other file that is written is in memory, over the machine's own, and gone at the end.
set -euo pipefail
readonly WORK=$1

# Around the machine: whatever it starts is in one control group, which is removed behind it.
if [[ ${2-} != inside ]]; then
  mount --make-rprivate /
  mkdir "$WORK/groups"
  mount -t cgroup2 lethewire-docs "$WORK/groups"
  group=$WORK/groups/lethewire-docs-$$
  mkdir "$group"
  echo $$ >"$group/cgroup.procs"
  setpriv --pdeathsig KILL unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child \
    "$0" "$WORK" inside || true
  echo $$ >"$WORK/groups/cgroup.procs"
  echo 1 >"$group/cgroup.kill"
  until grep -qx 'populated 0' "$group/cgroup.events"; do
    timeout 0.1 tail --follow /dev/null || true
  done
  find "$group" -depth -type d -exec rmdir {} +
  exit
fi

mount -t tmpfs -o mode=755 lethewire-docs "$WORK/layer"
mkdir "$WORK"/layer/{over,work,root}
mount -t overlay lethewire-docs "$WORK/layer/root" \
  -o "lowerdir=/,upperdir=$WORK/layer/over,workdir=$WORK/layer/work"
cd "$WORK/layer/root"
mkdir -p srv/lethewire out
mount --bind "$WORK/project" srv/lethewire
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
cat >run/systemd/system/docs.target <<'UNIT'
[Unit]
DefaultDependencies=no
Requires=docs.service
AllowIsolate=yes
UNIT
cat >run/systemd/system/docs.service <<'UNIT'
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
  /lib/systemd/systemd --system --unit=docs.target
