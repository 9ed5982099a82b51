"""Sends tests/smuggling/cases.json through a proxy, and looks at what reaches the relay.

What is hidden in a case is a whole request that makes a room and has no `X-Forwarded-For`. A proxy
that knows it for a request puts the field on and may pass it on, as it may any request. One that is
smuggled past a proxy arrives without the field: the relay refuses and counts it. So that count stays
what it was. It is seen to move by the same request sent to the relay directly.
"""

import concurrent.futures
import json
import pathlib
import re
import secrets
import ssl

import python_client as client

CASES = pathlib.Path(__file__).resolve().parents[1] / "smuggling/cases.json"


def room():
    """The body of a request that makes a room."""
    key, owner = secrets.token_bytes(32), secrets.token_bytes(16)
    return json.dumps({"key": client.b64url(key), "owner": client.b64url(owner)})


def post(body):
    """The whole request."""
    head = "POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + "Content-Length: %d\r\n\r\n%s" % (len(body), body)


def bytes_of(case, hidden):
    """A case's bytes: each character is one, and the placeholders are filled in."""
    text = case["request"].replace("relay.example", "localhost")

    def filled(text):
        for name, value in (
            ("{hidden}", hidden),
            ("{hidden_len}", str(len(hidden))),
            ("{hidden_hex}", "%x" % len(hidden)),
            ("{long}", "x" * 70_000),
        ):
            text = text.replace(name, value)
        return text

    after = filled(text.partition("\r\n\r\n")[2])
    return filled(text.replace("{after}", str(len(after)))).encode("latin-1")


def answers(stream, request):
    """The statuses of all answers until the other end closes the connection."""
    heard = b""
    try:
        stream.sendall(request)
        while part := stream.recv(65536):
            heard += part
    except (ConnectionError, ssl.SSLError):
        # Closed before all was sent or said.
        pass
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", heard)]


def send(edge, case):
    """Sends one case; returns what was answered."""
    with edge.connect() as stream:
        return answers(stream, bytes_of(case, post(room())))


def check(edge, relay, counters):
    """All cases through one proxy. `counters` reads the relay's numbers."""
    cases = json.loads(CASES.read_text())
    before = counters(relay)
    with concurrent.futures.ThreadPoolExecutor(max_workers=24) as pool:
        heard = list(pool.map(lambda case: send(edge, case), cases))
    after = counters(relay)
    upgraded = [case for case, statuses in zip(cases, heard) if 101 in statuses]
    wrong = [case["name"] for case in upgraded if case.get("proxied") != "upgraded"]
    if wrong:
        raise SystemExit("%s: upgraded: %s" % (edge, wrong))

    def grew(name):
        return after[name] - before[name]

    if edge.relay["TRUST_PROXY"] == "proxy-protocol":
        # It looks at nothing, so that what reaches the relay is what the relay says about it alone.
        wrong = [(c["name"], got) for c, got in zip(cases, heard) if got != c["alone"]]
        if wrong or grew("records_made"):
            raise SystemExit("%s: not as without it: %s" % (edge, wrong))
    elif grew("forwarded"):
        raise SystemExit("%s let %d requests slip by" % (edge, grew("forwarded")))
    if grew("upgrades") != len(upgraded):
        raise SystemExit("%s: a wrong handshake was taken" % edge)
    return "%d cases" % len(cases)
