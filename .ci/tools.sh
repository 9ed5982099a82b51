# shellcheck shell=bash
# Installs what the steps of check.sh need, each thing once, into the git-ignored folder .test/.
#
# Sourced by check.sh, with the project's root as the working directory. Every `need_*` function
# returns at once when its tool is there, so that a second run installs nothing. Only Debian
# packages land outside the project; those need root.

readonly TOOLS=$PWD/.test
# shellcheck disable=SC2034 # Used by the steps.
readonly PYTHON=$TOOLS/venv/bin/python
# shellcheck disable=SC2034
readonly PYTHON_BACKEND=$TOOLS/venv-backend/bin/python
# shellcheck disable=SC2034
readonly PYTHON_DEPLOY=$TOOLS/venv-deploy/bin/python

# Runs a command up to four times, with growing pauses: registries and locks have bad moments.
retry() {
  local pause
  for pause in 2 5 15; do
    "$@" && return
    printf 'failed, again in %s s: %s\n' "$pause" "$*" >&2
    sleep "$pause"
  done
  "$@"
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# need_program <program> <Debian package> …: pairs; installs the packages of missing programs.
need_program() {
  local missing=()
  while (($#)); do
    command -v "$1" >/dev/null || missing+=("$2")
    shift 2
  done
  ((${#missing[@]})) || return 0
  install_packages "${missing[@]}"
}

# Installs Debian packages, waiting for whoever else is at it.
install_packages() {
  [[ $(id -u) == 0 ]] || die "missing, and only root can install it: apt-get install $*"
  command -v apt-get >/dev/null || die "missing, and this is no Debian: $*"
  local apt=(env DEBIAN_FRONTEND=noninteractive
    apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
  retry "${apt[@]}" update
  without_services retry "${apt[@]}" install --no-install-recommends "$@"
}

# Runs a command while Debian starts no service of a package that it installs: tests start what they
# need themselves, on ports of their own. A rule that is there already is left as it is.
without_services() {
  local rule=/usr/sbin/policy-rc.d status=0
  if [[ -e $rule ]]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$rule"
  chmod +x "$rule"
  "$@" || status=$?
  rm -f "$rule"
  return "$status"
}

# Redis in all the ways that it is run in.
need_redis() {
  need_program redis-server redis-server redis-sentinel redis-sentinel redis-cli redis-tools
}

# Several relays on Redis, with a balancer, and a clock that can be made to jump.
need_cluster() {
  # Debian has the balancer where only root looks.
  PATH=$PATH:/usr/sbin
  need_redis
  need_program openssl openssl faketime faketime setpriv util-linux haproxy haproxy
}

# An engine for containers, and what its images are made of here.
need_container() {
  # Debian has some of them where only root looks.
  PATH=$PATH:/usr/sbin
  need_redis
  need_program dockerd docker.io docker-compose docker-compose iptables iptables gcc gcc \
    caddy caddy busybox busybox-static openssl openssl ss iproute2 unshare util-linux chromium chromium \
    prometheus prometheus prometheus-alertmanager prometheus-alertmanager
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] || install_packages ca-certificates
  # It has little to do: optimising it would take longer than it runs.
  need_crate cargo-auditable 0.7.7 cargo-auditable --debug
  # The image is built without a network, so the crates have to be here.
  retry cargo fetch --locked --quiet --target "$(rustc -vV | sed -n 's/^host: //p')"
}

need_websocat() {
  # Without TLS, which the tests do not use.
  need_crate websocat 1.14.1 websocat --no-default-features
}

need_cargo_fuzz() {
  need_program c++ g++
  need_crate cargo-fuzz 0.13.2 cargo-fuzz
}

need_gungraun() {
  # Runner and library speak to each other, so both have one version: that of Cargo.lock.
  local package
  package=$(cargo pkgid --locked gungraun)
  need_crate gungraun-runner "${package##*@}" gungraun-runner
}

# need_crate <crate> <version> <program> [cargo's options]: a program from crates.io.
need_crate() {
  local crate=$1 version=$2 program=$TOOLS/cargo/bin/$3
  shift 3
  # Cargo's own list, because not every program tells its version in the same way.
  if [[ -x $program ]] && grep -q "^\"$crate $version " "$TOOLS/cargo/.crates.toml"; then
    return
  fi
  # A tool is built as its authors wanted it: our flags and our build folder are not for it.
  retry env -u CARGO_TARGET_DIR -u RUSTFLAGS \
    cargo install --locked --quiet --root "$TOOLS/cargo" --version "$version" "$@" "$crate"
}

# need_node_modules <folder>: exactly what the folder's package-lock.json says.
need_node_modules() {
  up_to_date "npm-${1//\//-}" "$1/package-lock.json" && [[ -d $1/node_modules ]] && return
  (cd "$1" && retry npm ci --no-audit --no-fund --loglevel=error)
  record "npm-${1//\//-}" "$1/package-lock.json"
}

# A Python of the project's own, with the client library of the tests.
need_python() {
  need_venv venv tests/clients/requirements.txt
}

# Linters and schemas for what is in deploy/, apart because they are large.
need_deploy() {
  need_venv venv-deploy tests/deploy/requirements.txt
  need_node_modules tests/deploy/crds
}

# Validators of the interfaces' descriptions.
need_backend() {
  need_venv venv-backend tests/backend/requirements.txt
  need_node_modules tests/backend/schema
}

# need_venv <folder in .test> <file with requirements>: a Python with exactly these packages.
need_venv() {
  local folder=$TOOLS/$1 wanted=$2
  up_to_date "$1" "$wanted" && [[ -x $folder/bin/python ]] && return
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
  rm -rf "$folder"
  python3 -m venv "$folder"
  retry "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted"
  record "$1" "$wanted"
}

# Autobahn's fuzzing client, which never left Python 2.7. Sets PYTHON27.
need_autobahn() {
  local wanted=tests/autobahn/requirements.txt
  PYTHON27=$(python27) || die "Autobahn needs Python 2.7: put python2.7 into PATH or pyenv's 2.7.18"
  export PYTHON27 PYTHONUSERBASE=$TOOLS/autobahn
  up_to_date autobahn "$wanted" && return
  rm -rf "$TOOLS/autobahn"
  retry "$PYTHON27" -W ignore -m pip install --quiet --user --disable-pip-version-check \
    --no-warn-script-location -r "$wanted"
  record autobahn "$wanted"
}

# Where a Python 2.7 is: in PATH, or among pyenv's versions.
python27() {
  local found
  for found in "$(command -v python2.7 || true)" \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python; do
    # A shim of pyenv is in PATH also when its version is not selected, and then does not run.
    if [[ -x $found ]] && "$found" -c '' 2>/dev/null; then
      printf '%s\n' "$found"
      return
    fi
  done
  return 1
}

# up_to_date <name> <file>: whether `record` was called for this content of the file.
up_to_date() {
  [[ -f $TOOLS/stamps/$1 ]] && [[ $(<"$TOOLS/stamps/$1") == "$(stamp "$2")" ]]
}

record() {
  mkdir -p "$TOOLS/stamps"
  stamp "$2" >"$TOOLS/stamps/$1"
}

# The folder's own path is part of it: virtual environments do not survive a move.
stamp() {
  printf '%s %s\n' "$(sha256sum <"$1")" "$TOOLS"
}
