#!/usr/bin/env bash
# Runs Autobahn's fuzzing client against our frame reader and compares the outcome with
# expected.json. `./check.sh autobahn` sets the variables:
#   AUTOBAHN_ECHO     the built example autobahn_echo
#   AUTOBAHN_REPORTS  a folder for the reports; it is emptied
#   PYTHON27          a Python 2.7 that has autobahntestsuite
set -euo pipefail
cd "$(dirname "$0")"

rm -rf "$AUTOBAHN_REPORTS"
mkdir -p "$AUTOBAHN_REPORTS"

exec {echo_out}< <(exec "$AUTOBAHN_ECHO")
echo_pid=$!
trap 'kill "$echo_pid" 2>/dev/null || true' EXIT
read -r -t 10 -u "$echo_out" address

sed -e "s|@ADDRESS@|$address|" -e "s|@REPORTS@|$AUTOBAHN_REPORTS|" fuzzingclient.json \
  >"$AUTOBAHN_REPORTS/spec.json"
timeout 900 "$PYTHON27" -W ignore -m autobahntestsuite.wstest -m fuzzingclient \
  -s "$AUTOBAHN_REPORTS/spec.json" >"$AUTOBAHN_REPORTS/wstest.log" 2>&1 || {
  tail -n 30 "$AUTOBAHN_REPORTS/wstest.log" >&2
  exit 1
}

python3 check.py "$AUTOBAHN_REPORTS/index.json" expected.json
