#!/usr/bin/env bash
# Mints join tokens: bash, openssl and od.
#
#   JOIN_TOKEN_SECRET_FILE=join-token.secret mint.sh ROOM CAP [TTL_S [SESSION_S]]
#
# ROOM is base64url of 16 to 32 bytes; CAP are letters of s, r, o and c (docs/protocol.md, section 4).
# TOKEN_KID, TOKEN_ISSUER and TOKEN_AUDIENCE are those of the relay.
set -euo pipefail

b64url() {
  openssl base64 -A | tr '+/' '-_' | tr -d '='
}

hex() {
  od -An -v -tx1 | tr -d ' \n'
}

# HMAC-SHA-256 (RFC 2104) of standard input under the key, which is in hex. Not `openssl dgst -hmac`:
# that wants the key as an argument, and arguments are shown to every user of the machine.
hmac() {
  local key=$1 inner='' outer='' byte i
  if ((${#key} > 128)); then
    key=$(raw "$key" | openssl dgst -sha256 -binary | hex)
  fi
  for ((i = 0; i < 64; i++)); do
    byte=${key:2 * i:2}
    inner+=$(printf '%02x' $((16#${byte:-0} ^ 0x36)))
    outer+=$(printf '%02x' $((16#${byte:-0} ^ 0x5c)))
  done
  raw "$outer$({ raw "$inner" && cat; } | openssl dgst -sha256 -binary | hex)" | openssl dgst -sha256 -binary
}

# raw <hex>: the bytes. printf is a part of the shell, so they are no program's arguments.
raw() {
  # shellcheck disable=SC2059 # the bytes are the format
  printf "$(printf '%s' "$1" | sed 's/../\\x&/g')"
}

main() {
  local room=$1 cap=$2 ttl=${3:-60} session=${4:-} now secret claims signed
  # What goes into JSON as it is has nothing that JSON would have to escape.
  [[ $room =~ ^[A-Za-z0-9_-]+$ && $cap =~ ^[srco]+$ && $ttl$session =~ ^[0-9]+$ ]]
  now=$(date +%s)
  secret=$(hex <"$JOIN_TOKEN_SECRET_FILE")
  # One line end is not part of the secret: the relay reads the same file in the same way.
  if [[ $secret == *0a ]]; then secret=${secret%0a} && secret=${secret%0d}; fi
  claims=$(printf '{"iss":"%s","aud":"%s","room":"%s","cap":"%s","iat":%d,"exp":%d,"jti":"%s"%s}' \
    "${TOKEN_ISSUER:-lethewire}" "${TOKEN_AUDIENCE:-lethewire}" "$room" "$cap" \
    "$now" "$((now + ttl))" "$(openssl rand 16 | b64url)" "${session:+,\"ses\":$session}")
  signed=$(printf '{"alg":"HS256","kid":"%s","typ":"lethewire-join+jwt"}' "${TOKEN_KID:-k1}" | b64url)
  signed+=.$(printf '%s' "$claims" | b64url)
  printf '%s.%s\n' "$signed" "$(printf '%s' "$signed" | hmac "$secret" | b64url)"
}

main "$@"
