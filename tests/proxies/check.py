"""The proxies of docs/proxies/ in front of the released relay: members talk over wss through each,
the client's address is right whatever clients claim, nothing is smuggled, nothing is written down.

usage: check.py [Nginx Haproxy HaproxyProxyProtocol Caddy]

It needs nginx, haproxy, caddy and openssl in PATH, and the package `websockets`.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import secrets
import socket
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))

from websockets.asyncio.client import connect  # noqa: E402

import python_client as client  # noqa: E402
import smuggling  # noqa: E402
from edge import EDGES, make_certificate  # noqa: E402
from relay import Relay  # noqa: E402

# Limits that are not what a test is about.
GENEROUS = {
    "MAX_CONNS_PER_IP": "1000",
    "MAX_HTTP_REQUESTS_PER_IP_PER_MIN": "1000000",
    "MAX_TOKENS_PER_IP_PER_MIN": "1000000",
    "MAX_HANDSHAKES_PER_IP_PER_10S": "1000000",
    "MAX_ROOM_CREATES_PER_IP_PER_MIN": "100000",
    "MAX_FAULTS_PER_IP": "0",
}


@contextlib.contextmanager
def behind(edge, **variables):
    """A relay behind a proxy that is started for it."""
    with Relay(PUBLIC_URL=edge.url, **edge.relay, **{**GENEROUS, **variables}) as relay:
        edge.start(relay.members)
        yield relay


def counters(relay):
    """Numbers of a relay by the end of their names."""
    request = urllib.request.Request(
        relay.operations + "/metrics", headers={"Accept": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        metrics = json.load(answer)["metrics"]
    return {
        "forwarded": metrics['lethewire_refusals_total{reason="forwarded"}']["value"],
        "records_made": metrics["lethewire_records_made_total"]["value"],
        "upgrades": metrics["lethewire_upgrades_total"]["value"],
    }


# A handshake with a token and extra lines; the key is that of RFC 6455.
HANDSHAKE = (
    "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: lethewire.v1, lethewire.bearer.%s\r\n%s\r\n"
)


class Room:
    """A room, and who comes to it through a proxy."""

    def __init__(self, edge):
        self.edge, self.keys = edge, client.Keys()
        self.url, _ = client.make_room(edge.url, self.keys)

    def token(self):
        """A fresh one."""
        door = {"room": client.b64url(self.keys.room), "key": client.b64url(self.keys.admission_key)}
        deadline = time.monotonic() + 20
        status = None
        # Connections of requests before this may still count for a moment.
        while status != 200 and time.monotonic() < deadline:
            status, answer = client.post(self.edge.url, "/v1/tokens", door)
        check(status, 200)
        return answer["token"]

    @contextlib.contextmanager
    def knock(self, source, claims):
        """A handshake from an address that claims to be others: the status of its answer. An upgraded
        connection lasts as long as this."""
        claimed = "".join("X-Forwarded-For: %s\r\n" % claim for claim in claims)
        request = HANDSHAKE % (self.token(), "Forwarded: for=198.51.100.9\r\n" + claimed)
        with self.edge.connect(source) as stream:
            stream.sendall(request.encode())
            yield int(stream.recv(65536).split(b" ", 2)[1])

    async def talk(self):
        """Two members hear each other."""
        # One thread: a TLS connection must not be read and written at once by two.
        options = {"ssl": self.edge.tls, "open_timeout": 10}
        tokens = [self.token() for _ in range(2)]
        protocols = [["lethewire.v1", "lethewire.bearer." + token] for token in tokens]
        async with (
            connect(self.url, subprotocols=protocols[0], **options) as alice,
            connect(self.url, subprotocols=protocols[1], **options) as bob,
        ):
            heard = [json.loads(await member.recv()) for member in (alice, bob, alice)]
            check([frame["type"] for frame in heard], ["welcome", "welcome", "join"])
            for size in (1, 1000, 65_536):
                for sender, receiver in ((alice, bob), (bob, alice)):
                    payload = secrets.token_bytes(size)
                    await sender.send(bytes([client.SEND, 0, 0, 0]) + payload)
                    check((await receiver.recv())[20:] == payload, True)
            await alice.send('{"type":"ping","n":7}')
            check(json.loads(await alice.recv()), {"type": "pong", "n": 7})


def claimed_addresses_count_for_nothing(edge):
    """With three connections per address, each address has three, whoever others say that they are."""
    with behind(edge, MAX_CONNS_PER_IP="3"):
        room = Room(edge)
        # In lines of their own, and in one line.
        for lines in (0, 1):
            for count in range(6):
                rogue, other = ("127.%d.%d.1" % (1 + lines, n) for n in (count, 100 + count))
                claims = [", ".join([other] * count)] if lines else [other] * count
                with contextlib.ExitStack() as stack:
                    for source, claimed in ((rogue, claims), (other, [rogue])):
                        knocks = (room.knock(source, claimed) for _ in range(4))
                        seen = [stack.enter_context(knock) for knock in knocks]
                        check(seen, [101, 101, 101, 429])


def a_named_field_is_not_taken_away(edge):
    """A client that names the proxy's field as one of its hop does not get rid of it."""
    with behind(edge, MAX_ROOM_CREATES_PER_IP_PER_MIN="1") as relay:
        made = []
        for source in ("127.0.3.1", "127.0.3.1", "127.0.3.2"):
            fields = ("X-Forwarded-For: 203.0.113.1", "Connection: X-Forwarded-For")
            request = once(smuggling.post(smuggling.room()), *fields)
            with edge.connect(source) as stream:
                made += smuggling.answers(stream, request)
        # Made for who it is, or refused; never made for somebody else.
        if made not in ([201, 429, 201], [400, 400, 400]):
            raise SystemExit("%s: %s" % (edge, made))
        check(counters(relay)["records_made"] <= 2, True)


def operations_are_not_reached(edge):
    """What only operators may ask is not there."""
    with behind(edge):
        for method, path in (
            ("GET", "/metrics"),
            ("GET", "/health"),
            ("GET", "/admin/config"),
            ("POST", "/admin/drain"),
        ):
            request = "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            with edge.connect() as stream:
                check(smuggling.answers(stream, once(request % (method, path))), [404])


def nothing_is_smuggled(edge):
    with behind(edge) as relay:
        made = smuggling.check(edge, relay, counters)
        # What is hidden is good, and the count moves.
        if edge.relay["TRUST_PROXY"] == "1":
            before = counters(relay)
            host, port = relay.members.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), 10) as stream:
                check(smuggling.answers(stream, once(smuggling.post(smuggling.room()))), [400])
            check(counters(relay)["forwarded"], before["forwarded"] + 1)
        with edge.connect() as stream:
            check(smuggling.answers(stream, once(smuggling.post(smuggling.room()))), [201])
    return made


def members_talk_and_nothing_is_written_down(edge):
    """Two members make a room, talk and leave; then the relay goes, and whoever still tries finds
    nothing. Neither puts a token or an address into the proxy's output or files."""
    canary = "canary" + secrets.token_hex(16)
    with behind(edge):
        room = Room(edge)
        asyncio.run(asyncio.wait_for(room.talk(), timeout=60))
        token = room.token()
    for source in ("127.0.4.77", "127.0.4.78"):
        fields = "Connection: close\r\nAuthorization: Bearer %s\r\n" % canary
        with edge.connect(source) as stream:
            smuggling.answers(stream, (HANDSHAKE % (token, fields)).encode())
        with edge.connect(source) as stream:
            request = smuggling.post(smuggling.room()[:-2] + canary)
            got = smuggling.answers(stream, once(request))
            check([status for status in got if status < 500], [])
    for word in (canary, token, token.rpartition(".")[2], "127.0.4.7", "lethewire.bearer"):
        if word.encode() in edge.written():
            raise SystemExit("%s wrote %r down:\n%s" % (edge, word, edge.written().decode()))


def once(request, *fields):
    """The bytes of a request that is the last one of its connection, with these extra fields."""
    lines = "".join("%s\r\n" % field for field in ("Connection: close", *fields))
    return request.replace("\r\n", "\r\n" + lines, 1).encode()


def check(seen, expected):
    if seen != expected:
        raise SystemExit("expected %r, got %r" % (expected, seen))


CHECKS = (
    members_talk_and_nothing_is_written_down,
    claimed_addresses_count_for_nothing,
    a_named_field_is_not_taken_away,
    operations_are_not_reached,
    nothing_is_smuggled,
)


def main():
    wanted = [kind for kind in EDGES if kind.__name__ in sys.argv[1:] or len(sys.argv) == 1]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # nginx' workers are another user's.
        folder.chmod(0o755)
        certificate = make_certificate(folder)
        # For the client that knows nothing of this.
        os.environ["SSL_CERT_FILE"] = str(certificate[0])
        for kind in wanted:
            for test in CHECKS:
                own = folder / kind.__name__ / test.__name__
                own.mkdir(parents=True)
                with kind(own, certificate) as edge:
                    print("proxies: %s: %s: %s" % (edge, test.__name__, test(edge) or "ok"))


if __name__ == "__main__":
    main()
