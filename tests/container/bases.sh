#!/usr/bin/env bash
# Makes the images that the Dockerfile and docker-compose.yml start from out of what this machine has,
# because the test downloads none: a compiler with the crates of Cargo.lock, Redis, Caddy, Prometheus,
# Alertmanager.
#
# usage: bases.sh     in the project's folder; prints BUILDER=…, REDIS_IMAGE=… and so on
#
# Files of installed Debian packages go into a tar that the engine imports. Names carry a hash of the
# files' names, sizes and times, so that an image is made once.
set -euo pipefail

readonly CARGO=${CARGO_HOME:-$HOME/.cargo}
SYSROOT=$(rustc --print sysroot)
TARGET=$(rustc -vV | sed -n 's/^host: //p')
readonly SYSROOT TARGET

main() {
  image BUILDER builder \
    --change 'ENV PATH=/usr/local/bin:/rust/bin:/usr/bin CARGO_HOME=/cargo CARGO_NET_OFFLINE=true'
  image REDIS_IMAGE redis
  image CADDY_IMAGE caddy
  image PROMETHEUS_IMAGE prometheus --change 'ENTRYPOINT ["/usr/bin/prometheus"]'
  image ALERTMANAGER_IMAGE alertmanager --change 'ENTRYPOINT ["/usr/bin/prometheus-alertmanager"]'
}

# image <variable> <name> [options of docker import]
image() {
  local variable=$1 name=$2 files tag
  shift 2
  # Paths without the leading slash, as tar has them.
  files=$("files_of_$name" | sed 's,^/,,' | sort -u)
  tag=lethewire-test/$name:$({
    printf '%s\n' "$*" "$files"
    # Not of folders, in which something always happens, and not of the registry's index: any call of
    # cargo may write it anew, and what is read there is locked.
    (cd / && xargs -d '\n' stat --format '%F %n %s %Y') <<<"$files" |
      grep -v -e '^directory' -e '/registry/index/'
  } | sha256sum | cut -c 1-16)
  if [[ -z $(docker image ls --quiet "$tag") ]]; then
    tar -C / -c --no-recursion -T - \
      --transform "s,^${SYSROOT#/}/,rust/,S" \
      --transform "s,^${CARGO#/}/,cargo/,S" \
      --transform 's,^.*/\.test/cargo/bin/,usr/local/bin/,S' \
      --transform 's,^usr/bin/busybox$,usr/bin/wget,S' \
      <<<"$files" | docker import "$@" - "$tag" >/dev/null
  fi
  printf '%s=%s\n' "$variable" "$tag"
}

files_of_builder() {
  # Behind the compiler of C, what a configure script asks for: Debian has all of it everywhere but make.
  packages gcc libc6-dev dash coreutils sed grep mawk diffutils findutils make
  roots
  printf '%s\n' /usr/bin/cc /etc/alternatives/cc /usr/bin/awk /etc/alternatives/awk /etc/ssl/certs/ca-certificates.crt
  find "$SYSROOT/bin/cargo" "$SYSROOT/bin/rustc" "$SYSROOT"/lib/*.so* \
    "$SYSROOT/lib/rustlib/$TARGET/lib" "$SYSROOT/lib/rustlib/$TARGET/bin"
  printf '%s\n' "$PWD/.test/cargo/bin/cargo-auditable"
  # Just the crates that are locked, and what the registry says about them.
  crates | existing
}

crates() {
  local name version index=("$CARGO"/registry/index/*/)
  printf '%sconfig.json\n' "${index[@]}"
  while read -r name version; do
    printf '%s\n' "$CARGO"/registry/cache/*/"$name-$version.crate"
    printf "%s.cache/$(index_folder "$name")/$name\n" "${index[@]}"
  done < <(locked)
}

files_of_redis() {
  with_libraries /usr/bin/redis-server /usr/bin/redis-cli
  printf '%s\n' /tmp
}

# wget is what the health checks in docker-compose.yml call; the published images have that of busybox.
files_of_caddy() {
  with_libraries /usr/bin/caddy
  printf '%s\n' /usr/bin/busybox /tmp
}

files_of_prometheus() {
  with_libraries /usr/bin/prometheus
  printf '%s\n' /usr/bin/busybox /tmp
}

files_of_alertmanager() {
  with_libraries /usr/bin/prometheus-alertmanager
  # The words of its messages.
  find /usr/share/prometheus/alertmanager -type f
  printf '%s\n' /usr/bin/busybox /tmp
}

# Names and versions of Cargo.lock's packages that come from a registry.
locked() {
  awk -F '"' '/^name = /{name=$2} /^version = /{version=$2} /^source = "registry/{print name, version}' Cargo.lock
}

# Where cargo's index keeps a crate.
index_folder() {
  case ${#1} in
    1 | 2) printf '%s' "${#1}" ;;
    3) printf '3/%s' "${1:0:1}" ;;
    *) printf '%s/%s' "${1:0:2}" "${1:2:2}" ;;
  esac
}

# The files of installed packages and of all that they depend on, but for what nobody reads here.
packages() {
  apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances "$@" |
    sed -n 's/^\([a-z0-9]\)/\1/p' | sort -u | xargs dpkg -L 2>/dev/null |
    merged | grep -Ev '^/usr/share/(doc|man|locale|lintian|info)|^/\.|diverted|^package' | existing
}

# Programs and the libraries that they load.
with_libraries() {
  local program
  for program in "$@"; do
    printf '%s\n' "$program"
    readlink -f "$program"
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
      printf '%s\n' "$library"
      readlink -f "$library"
    done
  done | merged
  roots
}

# /bin, /lib and so on lead into /usr, also where a package says otherwise.
merged() {
  sed -E 's,^/(bin|sbin|lib|lib32|lib64|libx32)/,/usr/\1/,'
}

roots() {
  find / -maxdepth 1 -type l -lname 'usr/*'
  printf '%s\n' /tmp
}

existing() {
  while read -r path; do
    [[ ! -e $path && ! -L $path ]] || printf '%s\n' "$path"
  done
}

main
