"""Two relays on one Redis, the probe, and members who talk: what Prometheus has to look at."""

import base64
import contextlib
import os
import secrets
import sys
import threading

from kit import ROOT
from programs import Program

sys.path.insert(0, str(ROOT / "tests/clients"))

from websockets.exceptions import ConnectionClosed  # noqa: E402

import python_client as client  # noqa: E402
from relay import BINARY, Relay  # noqa: E402


def redis(folder):
    """A Redis on a socket in the folder."""
    path = folder / "redis.sock"
    arguments = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
    return path, Program(arguments, r"(ready to accept connections|Ready to accept connections)")


def cluster(path):
    """Relays that share their rooms through it."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    both = {
        "METRICS_PRIVACY": "exact",
        "REDIS_URL": "unix://%s" % path,
        "CLUSTER_SECRET": base64.b64encode(secrets.token_bytes(32)).decode(),
        "JOIN_TOKEN_SECRET": secret,
        "WARM_UP_S": "0",
        "MAX_MEMORY_BYTES": str(1 << 40),
        "MAX_MSGS_PER_10S": "100000",
        "MAX_FRAMES_PER_10S": "100000",
    }
    # The probe makes a room each time, of the first; the limits of the second are there to be hit.
    rooms = {"relay-1": "100000", "relay-2": "4"}
    return [
        Relay(INSTANCE_ID=name, MAX_ROOM_CREATES_PER_IP_PER_MIN=limit, **both)
        for name, limit in rooms.items()
    ]


def probe(relay):
    """`lethewire probe` on the relay's public address, as a service."""
    arguments = [BINARY, "probe", relay.members, "--listen", "127.0.0.1:0", "--interval", "10s"]
    return Program(arguments, r"figures: http://(\S+)/metrics", {"PATH": os.environ["PATH"]})


class Talk:
    """Three members of one room, one of them on the other relay, who talk until they are told to stop."""

    def __init__(self, relays):
        self.first, self.second = relays
        self.keys = client.Keys()
        self.url, token = client.make_room(self.first.members, self.keys)
        other = self.second.members.replace("http", "ws") + "/v1/ws"
        self.members = [client.Member(self.url, token), self._member(self.url), self._member(other)]
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._hear, args=(one,)) for one in self.members]
        self.threads.append(threading.Thread(target=self._talk))
        for thread in self.threads:
            thread.start()

    def _member(self, url):
        return client.Member(url, client.get_token(self.first.members, self.keys))

    def incidents(self):
        """What is counted when it happens: somebody leaves, others are refused, limits are hit."""
        guest = self._member(self.url)
        guest.command(type="leave")
        with contextlib.suppress(ConnectionClosed):
            while True:
                guest.receive()
        for _ in range(8):
            keys = client.Keys()
            room = {"key": client.b64url(keys.admission_key), "owner": client.b64url(keys.owner)}
            client.post(self.second.members, "/v1/rooms", room)
            door = {"room": client.b64url(keys.room), "key": client.b64url(bytes(32))}
            client.post(self.second.members, "/v1/tokens", door)

    def _talk(self):
        """All kinds of messages, at an easy pace."""
        while not self.over.wait(0.01):
            for one in self.members:
                one.say(b"for all", client.ACK, ref=1)
                one.say(b"may get lost", client.VOLATILE)
            self.members[0].say_to(self.members[1].id, b"for one")

    def _hear(self, member):
        with contextlib.suppress(ConnectionClosed):
            while True:
                member.socket.recv(timeout=30)

    def quiet(self):
        """Stops talking. Members stay, so that what was said arrives."""
        self.over.set()
        self.threads[-1].join()

    def end(self):
        self.quiet()
        for member in self.members:
            member.open.close()
        for thread in self.threads:
            thread.join()
