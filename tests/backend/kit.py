"""What the parts of check.py share: a relay, requests, members, and comparing."""

import base64
import http.client
import json
import pathlib
import secrets
import sys
import urllib.parse

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/clients"))

from relay import BINARY, Relay  # noqa: E402 - it is the test clients' relay

SECONDS = 10

__all__ = ["BINARY", "ROOT", "SECONDS", "Relay", "Seat", "b64url", "expect", "random_text", "request", "ws_of"]


def expect(seen, expected, about=""):
    """Ends everything unless both are the same."""
    if seen != expected:
        raise SystemExit("%s: expected %r, got %r" % (about, expected, seen))


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def random_text(length):
    """So many random bytes, as the relay wants them written."""
    return b64url(secrets.token_bytes(length))


def ws_of(relay):
    return relay.members.replace("http", "ws", 1) + "/v1/ws"


def request(base, method, path, body=None, headers=()):
    """One request; the status, the fields in lower case and the body's bytes of its answer."""
    address = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=SECONDS)
    try:
        fields = dict(headers)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            fields.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Seat:
    """A connection that offered a token, whatever became of it. Keeps every control frame in `heard`."""

    def __init__(self, url, token):
        offered = ["lethewire.v1"] + (["lethewire.bearer." + token] if token else [])
        self.socket = connect(url, subprotocols=offered, open_timeout=SECONDS)
        self.heard = []

    def hears(self, kind):
        """The next frame, which is a control frame of this type."""
        frame = self.next()
        expect(frame.get("type"), kind, frame)
        return frame

    def next(self):
        """The next control frame; a data frame is an error here."""
        text = self.socket.recv(timeout=SECONDS)
        if not isinstance(text, str):
            raise SystemExit("expected text, got %r" % (text,))
        self.heard.append(json.loads(text))
        return self.heard[-1]

    def message(self):
        """The next frame, which is a data frame."""
        data = self.socket.recv(timeout=SECONDS)
        if not isinstance(data, bytes):
            raise SystemExit("expected bytes, got %r" % (data,))
        return data

    def tells(self, **frame):
        self.socket.send(json.dumps(frame))

    def says(self, data):
        self.socket.send(data)

    def ends(self):
        """Code and name of the close that comes next; a hint behind the name is left out."""
        try:
            frame = self.socket.recv(timeout=SECONDS)
        except ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason.partition(";")[0]
        raise SystemExit("expected the end, got %r" % (frame,))
