"""Mints join tokens: Python 3.9 or newer, the standard library only.

  JOIN_TOKEN_SECRET_FILE=join-token.secret python3 mint.py ROOM CAP [TTL_S [SESSION_S]]

ROOM is base64url of 16 to 32 bytes; CAP are letters of s, r, o and c (docs/protocol.md, section 4).
TOKEN_KID, TOKEN_ISSUER and TOKEN_AUDIENCE are those of the relay.
"""

import base64
import hmac
import json
import os
import pathlib
import secrets
import sys
import time


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def settings(env=os.environ):
    """What the relay and the backend have in common."""
    secret = pathlib.Path(env["JOIN_TOKEN_SECRET_FILE"]).read_bytes()
    return {
        # One line end is not part of the secret: the relay reads the same file in the same way.
        "secret": secret.removesuffix(b"\n").removesuffix(b"\r") if secret.endswith(b"\n") else secret,
        "kid": env.get("TOKEN_KID") or "k1",
        "issuer": env.get("TOKEN_ISSUER") or "lethewire",
        "audience": env.get("TOKEN_AUDIENCE") or "lethewire",
    }


def mint(common, room, cap, ttl=60, session=None):
    """A token that lets its bearer into a room once; `session` is how many seconds it may stay."""
    now = int(time.time())
    header = {"alg": "HS256", "kid": common["kid"], "typ": "lethewire-join+jwt"}
    claims = {
        "iss": common["issuer"],
        "aud": common["audience"],
        "room": room,
        "cap": cap,
        "iat": now,
        "exp": now + ttl,
        "jti": b64url(secrets.token_bytes(16)),
    }
    if session is not None:
        claims["ses"] = session
    signed = ".".join(b64url(json.dumps(part).encode()) for part in (header, claims))
    return signed + "." + b64url(hmac.digest(common["secret"], signed.encode(), "sha256"))


if __name__ == "__main__":
    print(mint(settings(), *sys.argv[1:3], *map(int, sys.argv[3:])))
