"""A client in Python, written from docs/protocol.md alone: makes a room, joins it twice, talks.

usage: python_client.py [http://127.0.0.1:8080]

Without an address it starts a relay of its own. It checks every byte that it gets and stops with
an error if one is not as documented. It does not encrypt: the relay cannot tell, and this shows
what the relay does. It needs the package `websockets` (see requirements.txt).
"""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import sys
import urllib.error
import urllib.request

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from relay import Relay

SEND, DIRECT = 0x01, 0x02
FROM_RELAY = 0x80
ACK, ECHO, VOLATILE = 0x01, 0x02, 0x04


# Names and keys (docs/protocol.md, sections 1 and 2).


def b64url(data):
    """base64url without padding, the only spelling that the relay takes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hkdf(secret, info):
    """HKDF-SHA-256 (RFC 5869) for one block of 32 bytes."""
    key = hmac.digest(b"lethewire/v1", secret, "sha256")
    return hmac.digest(key, info + b"\x01", "sha256")


def sha256(data):
    return hashlib.sha256(data).digest()


class Keys:
    """What the creator of a room makes up, and what follows from it."""

    def __init__(self):
        self.secret = secrets.token_bytes(32)  # S: in the link, never sent to the relay
        self.owner_secret = secrets.token_bytes(32)  # W: the owner's, not even in the link
        self.admission_key = hkdf(self.secret, b"admission")
        self.owner = sha256(b"lethewire/v1 owner\0" + self.owner_secret)[:16]
        admission = sha256(b"lethewire/v1 admission\0" + self.admission_key)
        self.room = sha256(b"lethewire/v1 room\0" + admission + self.owner)[:16]


# HTTP (section 3).


def post(relay, path, body):
    """The status and the JSON of an answer, whether it is good or bad news."""
    request = urllib.request.Request(
        relay + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


# WebSocket (sections 5 to 7).


def offering(token):
    """What to connect with: the token is offered as a subprotocol, and never chosen."""
    return {"subprotocols": ["lethewire.v1", "lethewire.bearer." + token], "open_timeout": 10}


class Member:
    """One seat in a room."""

    def __init__(self, url, token):
        self.open = contextlib.ExitStack()
        self.socket = self.open.enter_context(connect(url, **offering(token)))
        check(self.socket.subprotocol, "lethewire.v1")
        self.welcome = self.control("welcome")
        self.id = from_b64url(self.welcome["member"])

    def receive(self):
        return self.socket.recv(timeout=10)

    def control(self, kind):
        """The next frame, which must be a control frame of this type."""
        frame = self.receive()
        if not isinstance(frame, str):
            raise SystemExit("expected %s, got bytes: %r" % (kind, frame))
        frame = json.loads(frame)
        check(frame["type"], kind)
        return frame

    def say(self, payload, flags=0, ref=0):
        head = bytes([SEND, flags]) + ref.to_bytes(2, "big")
        self.socket.send(head + payload)

    def say_to(self, member, payload, flags=0, ref=0):
        head = bytes([DIRECT, flags]) + ref.to_bytes(2, "big") + member
        self.socket.send(head + payload)

    def hears(self, op, flags, sender, seq, payload):
        """Checks that the next frame is this message, byte for byte."""
        head = bytes([FROM_RELAY | op, flags, 0, 0]) + sender.id + seq.to_bytes(8, "big")
        check(self.receive(), head + payload)

    def command(self, **frame):
        self.socket.send(json.dumps(frame))

    def is_closed_with(self, code, reason):
        try:
            frame = self.receive()
        except ConnectionClosed as closed:
            check((closed.rcvd.code, closed.rcvd.reason), (code, reason))
        else:
            raise SystemExit("expected the end, got %r" % (frame,))
        self.open.close()


def check(seen, expected):
    if seen != expected:
        raise SystemExit("expected %r, got %r" % (expected, seen))


# What happens.


def make_room(relay, keys):
    """Makes the room; doing so again finds it. Returns the WebSocket URL and a token."""
    room = {"key": b64url(keys.admission_key), "owner": b64url(keys.owner)}
    status, made = post(relay, "/v1/rooms", room)
    check((status, made["room"]), (201, b64url(keys.room)))
    status, found = post(relay, "/v1/rooms", room)
    check((status, found["room"]), (200, b64url(keys.room)))
    return made["ws"], made["token"]


def get_token(relay, keys):
    """A token for whoever has the link."""
    door = {"room": b64url(keys.room), "key": b64url(keys.admission_key)}
    status, answer = post(relay, "/v1/tokens", door)
    check(status, 200)
    wrong = dict(door, key=b64url(bytes(32)))
    status, problem = post(relay, "/v1/tokens", wrong)
    check((status, problem["type"].endswith("admission-failed")), (403, True))
    return answer["token"]


def meet(alice, bob):
    """Both know of each other. Returns the number of the last join."""
    joined = alice.control("join")
    check(joined, {"type": "join", "member": bob.welcome["member"], "seq": bob.welcome["seq"]})
    check(alice.welcome["members"], [alice.welcome["member"]])
    both = {alice.welcome["member"], bob.welcome["member"]}
    check(set(bob.welcome["members"]), both)
    check(alice.welcome["epoch"], bob.welcome["epoch"])
    check(bob.welcome["seq"], alice.welcome["seq"] + 1)
    return bob.welcome["seq"]


def talk(alice, bob, seq):
    """Every kind of message once. Returns the number of the last one."""
    bob.say(b"to everybody else", ACK, ref=7)
    alice.hears(SEND, 0, bob, seq + 1, b"to everybody else")
    check(bob.control("ack"), {"type": "ack", "ref": 7, "seq": seq + 1})

    alice.say(b"to me as well", ECHO)
    alice.hears(SEND, ECHO, alice, seq + 2, b"to me as well")
    bob.hears(SEND, 0, alice, seq + 2, b"to me as well")

    # A DIRECT carries the room's number and takes none.
    alice.say_to(bob.id, b"to you", ACK, ref=8)
    bob.hears(DIRECT, 0, alice, seq + 2, b"to you")
    check(alice.control("ack"), {"type": "ack", "ref": 8, "seq": seq + 2})

    alice.say_to(bytes(8), b"to nobody", ref=9)
    error = alice.control("error")
    check((error["code"], error["ref"]), ("no_such_member", 9))

    bob.say(b"may get lost", VOLATILE)
    alice.hears(SEND, VOLATILE, bob, 0, b"may get lost")

    alice.command(type="ping", n=41)
    check(alice.control("pong"), {"type": "pong", "n": 41})
    return seq + 2


def rule(relay, keys, alice):
    """What only the owner can do."""
    order = {"room": b64url(keys.room), "owner_secret": b64url(keys.owner_secret)}
    check(post(relay, "/v1/owner", dict(order, op="lock")), (204, None))
    check(alice.control("room")["locked"], True)
    door = {"room": b64url(keys.room), "key": b64url(keys.admission_key)}
    check(post(relay, "/v1/tokens", door)[0], 423)
    check(post(relay, "/v1/owner", dict(order, op="close")), (204, None))
    check(alice.control("closed"), {"type": "closed"})
    alice.is_closed_with(4002, "room_closed")


def run(relay):
    keys = Keys()
    url, token = make_room(relay, keys)
    alice = Member(url, token)
    bob = Member(url, get_token(relay, keys))
    seq = talk(alice, bob, meet(alice, bob))

    bob.command(type="leave")
    bob.is_closed_with(1000, "left")
    left = {"type": "leave", "member": bob.welcome["member"], "seq": seq + 1, "why": "left"}
    check(alice.control("leave"), left)

    # A token works once.
    with connect(url, **offering(token)) as again:
        try:
            again.recv(timeout=10)
        except ConnectionClosed as closed:
            check((closed.rcvd.code, closed.rcvd.reason), (4104, "token_used"))
        else:
            raise SystemExit("a token was taken twice")

    rule(relay, keys, alice)


def main():
    if len(sys.argv) > 1:
        run(sys.argv[1].rstrip("/"))
    else:
        with Relay() as relay:
            run(relay.members)
    print("python client: made a room, joined twice, talked, ruled, left")


if __name__ == "__main__":
    main()
