#!/usr/bin/env bash
# Makes a package of a relay that is already built.
#
#   deploy/packages/build.sh deb|rpm FOLDER
#
# LETHEWIRE_BIN is the binary (target/release/lethewire). A .deb needs dpkg-deb, an .rpm rpmbuild, which
# Debian has too. What goes where is in stage(), for both. The same sources and binary make the same
# package, byte for byte: its times are those of the last commit, or SOURCE_DATE_EPOCH.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly BIN=${LETHEWIRE_BIN:-${CARGO_TARGET_DIR:-target}/release/lethewire}
VERSION=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
readonly VERSION
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

# put <mode> <from> <to>: a file of the tree.
put() {
  install -D -m "$1" "$2" "$3"
}

# stage <tree>: everything that an installation has, at its place.
stage() {
  local tree=$1 doc=$1/usr/share/doc/lethewire
  put 755 "$BIN" "$tree/usr/bin/lethewire"
  put 644 deploy/systemd/lethewire.service "$tree/usr/lib/systemd/system/lethewire.service"
  put 644 deploy/systemd/lethewire.socket "$tree/usr/lib/systemd/system/lethewire.socket"
  put 644 deploy/systemd/lethewire.sysusers "$tree/usr/lib/sysusers.d/lethewire.conf"
  # Who installs it has no proxy in front yet, and exposes nothing before saying so.
  sed 's/^HOST=0\.0\.0\.0$/#&/' .env.production >"$tree/lethewire.env"
  put 640 "$tree/lethewire.env" "$tree/etc/lethewire/lethewire.env"
  rm "$tree/lethewire.env"
  put 644 deploy/systemd/redis.conf "$doc/examples/redis.conf"
  put 644 deploy/redis/users.acl "$doc/examples/users.acl"
  # What the program says of itself.
  "$BIN" man >"$tree/page"
  gzip -9n "$tree/page"
  put 644 "$tree/page.gz" "$tree/usr/share/man/man1/lethewire.1.gz"
  complete bash bash-completion/completions/lethewire
  complete zsh zsh/vendor-completions/_lethewire
  complete fish fish/vendor_completions.d/lethewire.fish
  rm "$tree/page.gz"
  put 644 CHANGELOG.md "$doc/CHANGELOG.md"
  put 644 deploy/packages/README.md "$doc/README.md"
  put 644 deploy/packages/debian/copyright "$doc/copyright"
}

# complete <shell> <file in /usr/share>: in stage(), whose tree it is.
complete() {
  "$BIN" completions "$1" >"$tree/completion"
  put 644 "$tree/completion" "$tree/usr/share/$2"
  rm "$tree/completion"
}

# The C library that the binary was linked against: older ones cannot start it.
glibc() {
  objdump -T "$BIN" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1 | cut -d_ -f2
}

make_deb() {
  local out=$1 tree=$2 script
  mkdir -p "$tree/DEBIAN"
  cat >"$tree/DEBIAN/control" <<END
Package: lethewire
Version: $VERSION
Architecture: $(dpkg --print-architecture)
Maintainer: The Lethewire authors <lethewire@example.org>
Section: net
Priority: optional
Depends: libc6 (>= $(glibc)), libgcc-s1, openssl, systemd (>= 250)
Installed-Size: $(du -sk "$tree" | cut -f1)
Description: zero-knowledge relay for end-to-end encrypted, ephemeral rooms
 Members of a room talk over WebSockets; the relay puts what they say in one
 order and cannot read it. Nothing is written to disk.
END
  printf '/etc/lethewire/lethewire.env\n' >"$tree/DEBIAN/conffiles"
  for script in postinst prerm postrm; do
    put 755 "deploy/packages/debian/$script" "$tree/DEBIAN/$script"
  done
  dpkg-deb --root-owner-group --uniform-compression --build "$tree" "$out" >/dev/null
}

make_rpm() {
  local out=$1 tree=$2
  # Where zsh looks depends on the distribution.
  mv "$tree/usr/share/zsh/vendor-completions" "$tree/usr/share/zsh/site-functions"
  # Everything below is for the builder alone, which wants folders of its own.
  rpmbuild --quiet -bb deploy/packages/lethewire.spec \
    --define "_topdir $tree.rpmbuild" --define "_rpmdir $out" --define "staged $tree" \
    --define "relay_version $VERSION" --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" --define "_buildhost localhost"
  rm -rf "$tree.rpmbuild"
}

main() {
  [[ $# == 2 && $1 =~ ^(deb|rpm)$ ]] || { sed -n '2,10s/^# \?//p' "$0"; exit 2; }
  [[ -x $BIN ]] || { printf 'error: no binary at %s\n' "$BIN" >&2; exit 1; }
  local tree out
  mkdir -p "$2"
  out=$(realpath "$2")
  tree=$(mktemp -d)
  # shellcheck disable=SC2064 # The folder of now.
  trap "rm -rf '$tree' '$tree.rpmbuild'" EXIT
  chmod 755 "$tree"
  (umask 022 && stage "$tree")
  find "$tree" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
  "make_$1" "$out" "$tree"
}

main "$@"
