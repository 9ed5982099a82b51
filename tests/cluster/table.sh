#!/usr/bin/env bash
# Runs the cluster's tests in their long form and writes docs/chaos.md and the table of docs/upgrades.md from
# what members saw.
#
#   tests/cluster/table.sh [--short]
#
# The page says how long each test was, so that a short one cannot pass for a long one.
set -euo pipefail
cd "$(dirname "$0")/../.."

rows=$(mktemp -d)
page=$(mktemp)
trap 'rm -rf "$rows" "$page"' EXIT
form=(--nightly)
said="the long form"
if [[ ${1-} == --short ]]; then
  form=()
  said="the short form"
fi
CLUSTER_RESULTS=$rows ./check.sh "${form[@]}" cluster

commit=$(git rev-parse --short=12 HEAD)
{
  cat <<TEXT
# What members see when something breaks

Written by \`tests/cluster/table.sh\` ($said, commit $commit). Three relays share a Redis; members of several
rooms on all of them talk all the time, in all the ways that there are, and write down everything; one thing
is broken until it is felt, and mended. Then a checker that knows nothing of relays and Redis demands one order
per epoch for everybody, nothing twice, nothing foreign, the same members at each number, and an announcement or
a close code wherever something is missing. *Recovered* is how many seconds after the mend everybody had said
something that everybody else in the room had heard; where a node died, how long until its members had left for
the others. *Paused*, *gap* and *reset* count what single members were told.

| broken | sent | delivered | refused meanwhile | what members saw | recovered (s) | undetected losses |
|---|--:|--:|--:|---|--:|--:|
TEXT
  cat "$rows"/*.row
} >"$page"
cp "$page" docs/chaos.md

# Its rows, and the form in the sentence above them.
sed -e '/^| \(one machine\|three relays\)/d' \
  -e "s/\(writes this table; \)[^)]*/\1$said, commit $commit/" docs/upgrades.md >"$page"
cat "$rows"/*.upgrade | sed -i '/^|---|--:|/r /dev/stdin' "$page"
cp "$page" docs/upgrades.md
