#!/bin/sh
# The Dockerfile's compiler: for the architecture TARGETARCH (amd64, arm64) on a machine of BUILDARCH,
# with the profile PROFILE of Cargo.toml.
#
#   build.sh prepare       what building for the architecture needs
#   build.sh dependencies  builds everything but the relay, from its manifests alone
#   build.sh relay         builds the relay and puts it at /lethewire
#   build.sh try           builds the relay alike, without the list of what it was built from, and leaves it to cargo
set -eu

case "${TARGETARCH:-}" in
  amd64) cpu=x86_64 ;;
  arm64) cpu=aarch64 ;;
  *)
    echo "build.sh: no such architecture: '${TARGETARCH:-}'; is this built by BuildKit?" >&2
    exit 1
    ;;
esac
target=$cpu-unknown-linux-gnu

prepare() {
  # Writes into the binary what it was built from, where scanners and `cargo audit bin` look for it.
  command -v cargo-auditable >/dev/null ||
    cargo install --locked --root /usr/local --version "$CARGO_AUDITABLE" cargo-auditable
  missing=
  command -v make >/dev/null || missing="make"
  if [ "$TARGETARCH" != "$BUILDARCH" ]; then
    rustup target add "$target"
    missing="$missing gcc-$(echo "$cpu" | tr _ -)-linux-gnu libc6-dev-$TARGETARCH-cross"
  fi
  [ -n "$missing" ] || return 0
  apt-get update
  # shellcheck disable=SC2086 # A list of names.
  apt-get install -y --no-install-recommends $missing
  rm -rf /var/lib/apt/lists/*
}

# With the subcommand of cargo that wraps the build, if there is one.
compile() {
  # The compiler of C has this name both as a native one and as one for another architecture.
  cc=$cpu-linux-gnu-gcc
  upper=$(echo "$target" | tr 'a-z-' 'A-Z_')
  env "CARGO_TARGET_${upper}_LINKER=$cc" "CC_$(echo "$target" | tr - _)=$cc" \
    RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
    cargo "$@" build --locked --profile "$PROFILE" --target "$target" --features jemalloc \
      --bin lethewire
}

case "$1" in
  prepare) prepare ;;
  dependencies)
    # Sources as small as they can be, so that this step depends on the manifests only. Those of the
    # benchmark stay: cargo wants them to be there.
    mkdir -p src bench/src tests/cluster
    echo 'fn main() {}' | tee src/main.rs bench/src/main.rs >tests/cluster/main.rs
    : >src/lib.rs
    compile auditable
    rm -r src tests
    ;;
  relay)
    # Cargo goes by time, and these are older than what they replace.
    touch src/lib.rs src/main.rs
    compile auditable
    cp "target/$target/$PROFILE/lethewire" /lethewire
    ;;
  try) compile ;;
esac
