#!/usr/bin/env bash
# Installs what the tests need and runs everything that has to hold, cheapest first.
# CI calls this file and nothing else; so can you. `./check.sh --help` lists the steps.
set -euo pipefail
cd "$(dirname "$0")"

source .ci/tools.sh

readonly STEPS=(
  fmt clippy test doc loom build fuzz sdk web python websocat backend proxies canary docs deploy cluster
  observability bench instructions autobahn
)
# What compiles everything once more, for which a run on two cores has no time.
readonly NIGHTLY_STEPS=(container arm64)

declare -rA ABOUT=(
  [fmt]="the code is formatted"
  [clippy]="no warning of the compiler or of clippy"
  [test]="unit, property, integration, corpus and tidy tests"
  [doc]="the documentation builds and its links resolve"
  [loom]="every interleaving of the outbox and of the flush"
  [build]="the binary, as it is released"
  [fuzz]="each fuzz target for FUZZ_SECONDS (5)"
  [sdk]="the SDK: types and tests"
  [web]="the page, in Chromium and Firefox"
  [python]="a Python program joins and talks"
  [websocat]="curl and websocat join and talk"
  [backend]="a backend mints tokens and throws out; OpenAPI and AsyncAPI say what a relay does"
  [proxies]="members talk through nginx, HAProxy and Caddy, as docs/proxies/ has them"
  [canary]="nothing that a client says shows up in a log, metric or error"
  [docs]="every command of the documents does what they say, and the site has every page"
  [deploy]="manifests and scripts are valid, and run where they can"
  [cluster]="several relays on Redis: one order, no silent loss, calm and under chaos"
  [observability]="alerts, dashboard and runbook name what a loaded relay really exports"
  [container]="the image is built and runs; docker-compose.yml serves members over TLS"
  [arm64]="the binary for arm64 is built, and a Python program joins and talks through it"
  [bench]="under load, every delivery arrives once and in order"
  [instructions]="no hot function takes more instructions than its bound"
  [autobahn]="Autobahn's cases against our frame reader"
)

# Where cargo puts the build; everything that runs the released binary finds it here.
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
# What is optimised and compiled in parts does not always link (rust-lang/rust#81280).
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
export LETHEWIRE_BIN=$TARGET/release/lethewire

step_fmt() {
  cargo fmt --all --check
}

step_clippy() {
  cargo clippy --locked --workspace --all-targets -- -D warnings
  # Not a target of `--all-targets`, for it is not one of `cargo test`.
  cargo clippy --locked --workspace --test cluster -- -D warnings
}

step_test() {
  need_redis
  need_program script bsdutils
  cargo test --locked --workspace
}

step_doc() {
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
}

step_loom() {
  # A cfg of our own, because tokio reacts to `loom`; other flags, so another folder. Compiling takes
  # longer than running, so nothing is optimised.
  RUSTFLAGS="--cfg lethewire_loom" CARGO_TARGET_DIR=$TARGET/loom CARGO_PROFILE_TEST_OPT_LEVEL=0 \
    cargo test --locked --lib --test loom_outbox loom_
}

step_build() {
  need_program make make
  cargo build --locked --release --features jemalloc
}

step_fuzz() {
  need_cargo_fuzz
  export CARGO_TARGET_DIR=$TARGET/fuzz
  local fuzz=("$TOOLS/cargo/bin/cargo-fuzz" fuzz) target targets
  targets=$("${fuzz[@]}" list)
  [[ -n $targets ]] || die "no fuzz target"
  # Without a sanitizer any compiler will do, and there is no unsafe code for one to watch.
  "${fuzz[@]}" build --sanitizer none
  for target in $targets; do
    # What the fuzzer finds goes into the first folder; the committed corpus is only read.
    mkdir -p "$TOOLS/fuzz/$target"
    "${fuzz[@]}" run --sanitizer none "$target" "$TOOLS/fuzz/$target" "fuzz/corpus/$target" -- \
      -max_total_time="${FUZZ_SECONDS:-5}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
  done
}

step_sdk() {
  need_release
  need_node_modules sdk
  (cd sdk && npm run --silent check)
}

step_web() {
  need_program chromium chromium firefox-esr firefox-esr
  need_release
  need_node_modules web
  (cd web && npm test --silent)
}

step_python() {
  need_python
  need_release
  "$PYTHON" tests/clients/python_client.py
}

# As the image is built for another architecture, and run by an emulator.
step_arm64() {
  need_python
  need_program aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu qemu-aarch64-static qemu-user-static make make
  dpkg -s libc6-dev-arm64-cross >/dev/null 2>&1 || install_packages libc6-dev-arm64-cross
  retry rustup target add aarch64-unknown-linux-gnu
  CARGO_TARGET_DIR=$TARGET/arm64 TARGETARCH=arm64 PROFILE=quick deploy/image/build.sh try
  local emulated=$TOOLS/lethewire-arm64
  printf '#!/bin/sh\nexec qemu-aarch64-static "%s" "$@"\n' \
    "$TARGET/arm64/aarch64-unknown-linux-gnu/quick/lethewire" >"$emulated"
  chmod +x "$emulated"
  # Kernels for arm64 have pages of up to 64 KiB.
  _RJEM_MALLOC_CONF=stats_print:true "$emulated" --version 2>&1 | grep '^Page size: 65536$'
  LETHEWIRE_BIN=$emulated "$PYTHON" tests/clients/python_client.py
}

step_websocat() {
  need_program curl curl
  need_websocat
  need_release
  PATH=$TOOLS/cargo/bin:$PATH tests/clients/websocat.sh
}

step_backend() {
  need_backend
  need_program openssl openssl
  need_release
  # As `test` built it, so that nothing is built twice.
  cargo build --locked --workspace --quiet --profile test --example backend_mint
  BACKEND_MINT=$TARGET/debug/examples/backend_mint \
    ASYNCAPI_SCHEMA=tests/backend/schema/node_modules/@asyncapi/specs/schemas/3.0.0.json \
    "$PYTHON_BACKEND" tests/backend/check.py
}

step_proxies() {
  need_python
  # Debian has two of them where only root looks.
  PATH=$PATH:/usr/sbin
  need_program nginx nginx haproxy haproxy caddy caddy openssl openssl
  need_release
  "$PYTHON" tests/proxies/check.py
}

step_canary() {
  need_python
  need_release
  "$PYTHON" tests/canary.py
}

step_docs() {
  need_redis
  need_program unshare util-linux ip iproute2 systemctl systemd \
    openssl openssl curl curl nft nftables haproxy haproxy update-ca-certificates ca-certificates \
    promtool prometheus amtool prometheus-alertmanager
  need_release
  python3 tests/docs/run.py
  # The site builder takes minutes to install; without it, only the list of the pages is checked.
  local site=()
  if [[ ${DOCS_NIGHTLY:-} ]]; then
    need_crate mdbook 0.5.4 mdbook --no-default-features --features search
    rm -rf "$TOOLS/site" && mkdir -p "$TOOLS/site"
    site=("$TOOLS/cargo/bin/mdbook" "$TOOLS/site")
  fi
  python3 tests/docs/site.py "${site[@]}"
}

step_deploy() {
  need_deploy
  need_redis
  need_program systemd-analyze systemd rpmbuild rpm objdump binutils \
    openssl openssl unshare util-linux mount mount ip iproute2 groff groff-base
  need_release
  "$PYTHON_DEPLOY" tests/deploy/check.py
}

step_cluster() {
  need_cluster
  need_release
  # Each test has three relays and its Redis; more at a time would measure the machine. Of the workspace,
  # so that the libraries are those of the other tests.
  cargo test --locked --workspace --test cluster -- --test-threads "${CLUSTER_TESTS:-4}" --nocapture
}

step_observability() {
  need_python
  need_redis
  need_program prometheus prometheus prometheus-alertmanager prometheus-alertmanager
  need_release
  "$PYTHON" tests/observability/check.py
}

step_container() {
  need_python
  need_node_modules web
  need_container
  tests/container/engine.sh "$TOOLS/container" "$PYTHON" tests/container/check.py
}

step_bench() {
  bench/run.sh quick
}

step_instructions() {
  bench/instructions.sh
}

step_autobahn() {
  need_autobahn
  cargo build --locked --release --features jemalloc --example autobahn_echo
  AUTOBAHN_ECHO=$TARGET/release/examples/autobahn_echo AUTOBAHN_REPORTS=$TOOLS/autobahn-reports \
    tests/autobahn/run.sh
}

# A step that is asked for by name must not test yesterday's binary.
need_release() {
  need_program make make
  cargo build --locked --release --features jemalloc --quiet
}

usage() {
  printf 'usage: ./check.sh [--nightly] [STEP…]\n\nRuns the named steps, or all of them:\n'
  local step
  for step in "${STEPS[@]}"; do
    printf '  %-13s %s\n' "$step" "${ABOUT[$step]}"
  done
  printf '\nBy name, or with --nightly:\n'
  for step in "${NIGHTLY_STEPS[@]}"; do
    printf '  %-13s %s\n' "$step" "${ABOUT[$step]}"
  done
  printf '\n%s\n%s\n%s\n' \
    "--nightly takes the long form where a step has one: cluster with a million messages, docs with mdBook's site, container with the image as it is released." "Debian packages are installed when they are missing and you are root; every other tool" \
    "goes into .test/ in this folder. A second run installs nothing."
}

results=()
passed=0

# Runs one step in a shell of its own, with its own environment, and stops everything when it fails.
run_step() {
  local step=$1 position=$2 started=$SECONDS status=0
  printf '\n=== %s %s: %s\n' "$position" "$step" "${ABOUT[$step]}"
  # Not in an `if`: there, bash would go on behind a failed command.
  set +e
  (set -e; "step_$step")
  status=$?
  set -e
  local elapsed=$((SECONDS - started))
  if ((status)); then
    results+=("$(printf '%-13s FAILED %5d s' "$step" "$elapsed")")
    summary
    printf 'checks: %d passed, 1 failed: %s (again with: ./check.sh %s)\n' "$passed" "$step" "$step"
    exit 1
  fi
  results+=("$(printf '%-13s passed %5d s' "$step" "$elapsed")")
  passed=$((passed + 1))
  printf -- '--- %s passed in %d s\n' "$step" "$elapsed"
}

summary() {
  printf '\n=== summary\n'
  printf '%s\n' "${results[@]}"
  printf '%-13s        %5d s\n' total "$SECONDS"
}

main() {
  local asked=() all=("${STEPS[@]}") step number=0
  for step in "$@"; do
    case $step in
      -h | --help) usage && exit ;;
      --nightly)
        export CLUSTER_NIGHTLY=1 DOCS_NIGHTLY=1 CONTAINER_PROFILE=release
        all+=("${NIGHTLY_STEPS[@]}")
        ;;
      *) asked+=("$step") ;;
    esac
  done
  ((${#asked[@]})) || asked=("${all[@]}")
  for step in "${asked[@]}"; do
    [[ -v "ABOUT[$step]" ]] || die "no such step: $step (./check.sh --help lists them)"
  done
  for step in "${asked[@]}"; do
    number=$((number + 1))
    run_step "$step" "$number/${#asked[@]}"
  done
  summary
  printf 'checks: %d passed, 0 failed\n' "$passed"
}

main "$@"
