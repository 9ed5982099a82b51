#!/usr/bin/env bash
# A client made of curl and websocat: makes a room, joins it twice, talks.
#
#   tests/clients/websocat.sh [http://127.0.0.1:8080]
#
# Without an address it starts a relay of its own (LETHEWIRE_BIN, or that of `cargo build --release`).
# It shows what travels, so nothing is encrypted and the keys are plain random bytes: the relay
# cannot tell. Every wait ends after 10 seconds, and anything unexpected ends it with an error.
set -euo pipefail

work=$(mktemp -d)
pids=()
# shellcheck disable=SC2317 # called by the trap
finish() {
  ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
  wait
  rm -rf "$work"
}
trap finish EXIT

fail() {
  printf 'websocat client: %s\n' "$*" >&2
  exit 1
}

# random <bytes>: that many random bytes as base64url without padding.
random() {
  head -c "$1" /dev/urandom | base64 | tr -d '=\n' | tr '+/' '-_'
}

# field <name>: the text of a member of the JSON on standard input.
field() {
  sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

hex() {
  od -An -v -tx1 | tr -d ' \n'
}

# Starts a relay and sets `relay` to where it listens.
start_relay() {
  local root binary line
  root=$(cd "$(dirname "$0")/../.." && pwd)
  binary=${LETHEWIRE_BIN:-$root/target/release/lethewire}
  mkfifo "$work/relay"
  env -i PORT=0 OPS_LISTEN=127.0.0.1:0 LOG_FORMAT=json "$binary" >"$work/relay" 2>/dev/null &
  pids+=($!)
  exec {relay_out}<"$work/relay"
  read -r -t 10 -u "$relay_out" line || fail "the relay did not start"
  relay=http://$(field members <<<"$line")
}

# post <path> <json>: the body of a good answer.
post() {
  curl --silent --show-error --fail --max-time 10 -H 'Content-Type: application/json' \
    --data "$2" "$relay$1"
}

# join <name> <url> <token>: takes a seat. Frames come out of the pipe <name>.out, one a line:
# T and the text, or B and the bytes in base64. The same goes into the pipe <name>.in.
join() {
  mkfifo "$work/$1.in" "$work/$1.out"
  websocat --base64 --text-prefix T --binary-prefix B \
    --protocol "lethewire.v1, lethewire.bearer.$3" "$2" <"$work/$1.in" >"$work/$1.out" &
  pids+=($!)
  exec {fd}>"$work/$1.in" && declare -g "$1_in=$fd"
  exec {fd}<"$work/$1.out" && declare -g "$1_out=$fd"
}

# hears <name> <pattern>: the next frame, which must look like this.
hears() {
  local out=$1_out
  read -r -t 10 -u "${!out}" frame || fail "$1 heard nothing, where it should be $2"
  # shellcheck disable=SC2053 # the pattern is one
  [[ $frame == $2 ]] || fail "$1 heard $frame, where it should be $2"
}

# says <name> <bytes, as printf writes them>: sends a binary frame.
says() {
  local in=$1_in
  # shellcheck disable=SC2059 # the bytes are the format
  printf 'B%s\n' "$(printf "$2" | base64 -w 0)" >&"${!in}"
}

# tells <name> <json>: sends a control frame.
tells() {
  local in=$1_in
  printf 'T%s\n' "$2" >&"${!in}"
}

main() {
  relay=${1-}
  [[ -n $relay ]] || start_relay

  # 1. Make a room. K_adm opens it; O belongs to an owner whose secret nobody has here.
  local key owner made room url
  key=$(random 32)
  owner=$(random 16)
  made=$(post /v1/rooms "{\"key\":\"$key\",\"owner\":\"$owner\"}")
  room=$(field room <<<"$made")
  url=$(field ws <<<"$made")

  # 2. Join with the token that came along, and with one that anybody gets who has the key.
  join alice "$url" "$(field token <<<"$made")"
  hears alice 'T{"type":"welcome",*'
  join bob "$url" "$(post /v1/tokens "{\"room\":\"$room\",\"key\":\"$key\"}" | field token)"
  hears bob 'T{"type":"welcome",*'
  local bob
  bob=$(field member <<<"${frame#T}")
  hears alice "T{\"type\":\"join\",\"member\":\"$bob\",\"seq\":2}"

  # 3. Talk: SEND (1) with ACK (1), number 0x0007, and a payload.
  says bob '\x01\x01\x00\x07hello'
  hears bob 'T{"type":"ack","ref":7,"seq":3}'
  hears alice 'B*'
  # BROADCAST (0x81), no flags, two zeros, 8 bytes of sender, 8 bytes of number, the payload.
  local bytes from payload expected
  bytes=$(base64 -d <<<"${frame#B}" | hex)
  from=$(tr -- '-_' '+/' <<<"$bob=" | base64 -d | hex)
  payload=$(printf hello | hex)
  expected=81000000${from}0000000000000003$payload
  [[ $bytes == "$expected" ]] || fail "alice heard $bytes, where it should be $expected"

  # 4. Leave, which the others hear.
  tells bob '{"type":"leave"}'
  hears alice "T{\"type\":\"leave\",\"member\":\"$bob\",\"seq\":4,\"why\":\"left\"}"

  printf 'websocat client: made a room, joined twice, talked, left\n'
}

main "$@"
