"""Says something that nobody else says in every field that a client can fill, at LOG_LEVEL=trace, and
looks for it in whatever the relay writes: log, metrics, health, probes, configuration, errors, header fields.

Identifiers and keys that the relay makes or gets are looked for as well, each in every spelling that
a program might print it in, and so are the operator's secrets, also where they are wrong or Redis does
not answer. Two controls come first: every spelling is found when it is there, and what an operator puts
where it is shown is found by the same way through the same places. What a panic prints is tested in
`src/telemetry.rs`, because nothing that a client sends should bring one about.
"""

import base64
import contextlib
import http.client
import ipaddress
import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent / "clients"))

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

import python_client as client  # noqa: E402
from relay import BINARY, Relay  # noqa: E402

# Loopback is a whole network; nobody else comes from here.
FROM = ("127.77.66.55", 0)
FORWARDED = "203.0.113.177"
FORWARDED_6 = "2001:db8:77a1:c3f2:1b2d:5e6f:9081:a2b3"


class Canaries:
    """What must not be found, by the name of the field that it was in."""

    def __init__(self):
        self.values = {
            "address": FROM[0].encode(),
            "X-Forwarded-For": FORWARDED.encode(),
            "X-Forwarded-For (IPv6)": FORWARDED_6.encode(),
            "IPv6 in 16 bytes": ipaddress.ip_address(FORWARDED_6).packed,
            "IPv4 in 4 bytes": ipaddress.ip_address(FORWARDED).packed,
            "address in 4 bytes": ipaddress.ip_address(FROM[0]).packed,
        }

    def text(self, field):
        """A new word for a field, 20 letters and digits."""
        return self.keep(field, "canary" + secrets.token_hex(7)).decode()

    def keep(self, field, value):
        """Adds a value; fields that come up again are numbered."""
        value = value.encode() if isinstance(value, str) else value
        self.values["%s (%d)" % (field, len(self.values))] = value
        return value

    def found_in(self, place, haystack):
        """Every canary in the text, with the spelling that gave it away."""
        return [
            "%s: %s, %s" % (place, field, how)
            for field, value in self.values.items()
            for how, needle in spellings(value)
            if needle in haystack
        ]


def spellings(value):
    """The ways in which a program may print some bytes, each with its name."""
    yield "raw", value
    for name, order in (("", value), (" from behind", value[::-1])):
        yield "hex" + name, order.hex().encode()
        yield "HEX" + name, order.hex().upper().encode()
        yield "numbers" + name, ", ".join(map(str, order)).encode()
        yield "numbers, close" + name, ",".join(map(str, order)).encode()
    if len(value) in (4, 8, 16):
        yield "number", str(int.from_bytes(value, "big")).encode()
        yield "number from behind", str(int.from_bytes(value, "little")).encode()
    if len(value) < 8:
        # Of an IPv4 address, everything else is so short that it stands anywhere by chance.
        return
    # In the middle of something longer, base64 has three alignments; the ends depend on neighbours.
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + value).rstrip(b"=")
        part = encoded[shift and shift + 1 : (len(value) + shift) // 3 * 4]
        yield "base64+%d" % shift, part
        yield "base64url+%d" % shift, part.translate(bytes.maketrans(b"+/", b"-_"))
    yield "percent", "".join("%%%02X" % byte for byte in value).encode()
    yield "percent, small", "".join("%%%02x" % byte for byte in value).encode()
    yield "percent where needed", urllib.parse.quote_from_bytes(value).encode()
    yield "escaped", "".join("\\x%02x" % byte for byte in value).encode()
    yield "escaped where needed", repr(value)[2:-1].encode()


class Visitor:
    """A client with a canary in every header, which keeps what it hears of the wrong kind."""

    def __init__(self, address, canaries):
        self.address = urllib.parse.urlsplit(address).netloc
        self.canaries = canaries
        self.errors = []
        # The header fields of every answer.
        self.fields = []

    def headers(self, **more):
        """Headers that any client may send."""
        names = ("User-Agent", "X-Request-Id", "Cookie", "Referer", "X-Canary", "Accept-Language")
        headers = {name: self.canaries.text(name) for name in names}
        forwarded = secrets.choice((FORWARDED, FORWARDED_6))
        return {**headers, "X-Forwarded-For": forwarded, **more}

    def ask(self, method, path, body=None, **headers):
        """Sends a request and returns status and body; what is no success is kept as an error."""
        if isinstance(body, dict):
            body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.address, timeout=10, source_address=FROM)
        with contextlib.closing(connection):
            connection.request(method, path, body, self.headers(**headers))
            answer = connection.getresponse()
            text = answer.read()
        self.fields.append(b"%r" % answer.getheaders())
        if answer.status >= 400:
            self.errors.append(b"%r\n%s" % (answer.getheaders(), text))
        return answer.status, text

    def raw(self, request):
        """Sends bytes that are no request, and reads what comes."""
        with socket.create_connection(
            tuple(self.address.rsplit(":", 1)), timeout=10, source_address=FROM
        ) as stream:
            stream.sendall(request)
            with contextlib.suppress(ConnectionResetError):
                while part := stream.recv(65536):
                    self.errors.append(part)

    def open(self, url, *protocols, **headers):
        """A WebSocket; to be used with `with`."""
        agent = self.canaries.text("User-Agent")
        return connect(
            url,
            subprotocols=["lethewire.v1", *protocols],
            additional_headers=self.headers(**headers),
            user_agent_header=agent,
            source_address=FROM,
            open_timeout=10,
            close_timeout=1,
            # It must see the end also when it does not read.
            max_queue=None,
        )

    def told(self, url, *protocols, send=(), **headers):
        """Opens a WebSocket, sends frames, and reads until the relay ends it."""
        try:
            with self.open(url, *protocols, **headers) as stream:
                for frame in send:
                    stream.send(frame)
                while True:
                    stream.recv(timeout=10)
        except ConnectionClosed as closed:
            self.errors.append(repr(closed.rcvd).encode())
        except InvalidStatus as refused:
            self.errors.append(b"%r\n%s" % (refused.response.headers, refused.response.body))


def secrets_of(canaries, keys, answer):
    """Keeps everything about a room and a token that the relay must not repeat."""
    for name in ("secret", "owner_secret", "admission_key", "owner", "room"):
        canaries.keep(name, getattr(keys, name))
    token = canaries.keep("token", answer["token"]).decode()
    claims = json.loads(client.from_b64url(token.split(".")[1]))
    canaries.keep("signature", client.from_b64url(token.split(".")[2]))
    canaries.keep("jti", client.from_b64url(claims["jti"]))
    return "lethewire.bearer." + token


def knock(visitor, canaries):
    """Requests that are refused, each with a canary in what is wrong with it."""
    text = canaries.text
    key = client.b64url(canaries.keep("wrong key", secrets.token_bytes(32)))
    room = client.b64url(canaries.keep("unknown room", secrets.token_bytes(16)))
    for body in (
        text("body"),
        '{"%s":1}' % text("member of the body"),
        {"key": text("key"), "owner": room},
        {"key": key, "owner": room, text("extra member"): 1},
        {"key": key, "owner": room, "options": {text("option"): 1}},
        {"key": key, "owner": room, "options": {"ttl_s": text("option's value")}},
    ):
        assert visitor.ask("POST", "/v1/rooms", body)[0] == 400, body
    assert visitor.ask("POST", "/v1/tokens", {"room": room, "key": key})[0] == 403
    rule = {"room": room, "owner_secret": key, "op": "close"}
    assert visitor.ask("POST", "/v1/owner", rule)[0] == 403
    visitor.ask("POST", "/v1/owner", {**rule, "op": text("op")})
    visitor.ask("POST", "/v1/owner", {**rule, "op": "kick", "member": text("member")})
    visitor.ask("POST", "/v1/rooms", {}, **{"Content-Type": "text/" + text("type")})
    visitor.ask("POST", "/v1/rooms", text("long body") * 1000)
    visitor.ask("GET", "/" + text("path"))
    visitor.ask("GET", "/v1/info?" + text("query"))
    visitor.ask("GET", "/v1/ws?" + text("query of ws"))
    visitor.ask(text("method").upper(), "/v1/rooms")
    visitor.ask("OPTIONS", "/v1/rooms", Origin="https://%s.example" % text("Origin of a preflight"))
    visitor.ask("POST", "/v1/rooms", {}, Origin="https://%s.example" % text("Origin"))
    visitor.ask("GET", "/v1/info", Host=text("Host"))
    visitor.raw(b"%s\r\n\r\n" % text("no request").encode())
    visitor.raw(b"GET / HTTP/1.1\r\n%s\r\n\r\n" % text("no header").encode())
    visitor.raw(b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (text("long header").encode() * 1000))


def knock_at_the_socket(visitor, canaries, url, ask_token):
    """Handshakes and frames that end a connection, each with a canary in them."""
    text = canaries.text
    visitor.told(url, "lethewire.bearer." + text("bearer"))
    visitor.told(url, text("subprotocol"))
    visitor.told(url, Authorization="Bearer " + text("Authorization"))
    visitor.told(url, ask_token(), Origin="https://%s.example" % text("Origin of a handshake"))
    used = ask_token()
    for _ in range(2):
        visitor.told(url, used, send=['{"type":"leave"}'])
    for frame in (
        text("no JSON"),
        '{"type":"%s"}' % text("type of a control frame"),
        '{"type":"leave","%s":1}' % text("member of a control frame"),
        '{"type":"owner","op":"%s"}' % text("op of a control frame"),
        b"\x7f\0\0\0" + text("unknown operation").encode(),
        b"\1\x7f\0\0" + text("unknown flag").encode(),
        b"\2\0\0" + text("cut DIRECT").encode()[:8],
        text("long text") * 100,
        text("long message").encode() * 10000,
    ):
        visitor.told(url, ask_token(), send=[frame])
    with visitor.open(url, ask_token()) as stream:
        stream.ping(text("ping"))
        stream.close(4999, text("reason of a close"))
    with visitor.open(url, ask_token()) as stream:
        stream.socket.sendall(b"\x82\x14" + text("unmasked").encode())
        with contextlib.suppress(ConnectionClosed):
            while True:
                stream.recv(timeout=10)


def talk(visitor, canaries, url, ask_token, members=6, messages=40):
    """A busy room: every kind of message, a kick, too much of one member, the end of the room."""
    with contextlib.ExitStack() as stack:
        room = []
        for _ in range(members):
            stream = stack.enter_context(visitor.open(url, ask_token()))
            welcome = json.loads(stream.recv(timeout=10))
            room.append((stream, canaries.keep("member", client.from_b64url(welcome["member"]))))
            canaries.keep("epoch", client.from_b64url(welcome["epoch"]))
        for number in range(messages):
            for stream, _ in room:
                payload = canaries.keep("payload", secrets.token_bytes(24))
                stream.send(b"\1" + bytes([number % 8]) + number.to_bytes(2, "big") + payload)
        (first, _), (_, second) = room[0], room[1]
        first.send(b"\2\1\0\0" + second + canaries.keep("DIRECT", secrets.token_bytes(24)))
        absent = canaries.keep("absent member", secrets.token_bytes(8))
        first.send(b"\2\1\0\0" + absent + canaries.text("to nobody").encode())
        first.send('{"type":"owner","op":"kick","member":"%s"}' % canaries.text("kicked member"))
        flood = canaries.keep("flood", secrets.token_bytes(24))
        try:
            for _ in range(2000):
                room[2][0].send(b"\1\0\0\0" + flood)
            while True:
                room[2][0].recv(timeout=10)
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 4201, closed
        yield


def visit(relay, canaries):
    """Does all of it, and returns what the relay told an operator and those who erred."""
    visitor = Visitor(relay.members, canaries)
    keys = client.Keys()
    certificate = {"key": client.b64url(keys.admission_key), "owner": client.b64url(keys.owner)}
    status, answer = visitor.ask("POST", "/v1/rooms", certificate)
    assert status == 201, answer
    answer = json.loads(answer)
    secrets_of(canaries, keys, answer)
    url = "ws://%s/v1/ws" % visitor.address

    def ask_token():
        door = {"room": answer["room"], "key": certificate["key"]}
        status, fresh = visitor.ask("POST", "/v1/tokens", door)
        assert status == 200, fresh
        return secrets_of(canaries, keys, json.loads(fresh))

    knock(visitor, canaries)
    knock_at_the_socket(visitor, canaries, url, ask_token)
    operator = Visitor(relay.operations, canaries)
    told = []
    for _ in talk(visitor, canaries, url, ask_token):
        for path, accept in (("/metrics", "text/plain"), ("/metrics", "application/json")):
            told.append(operator.ask("GET", path, Accept=accept)[1])
        shown = ("/health", "/admin/config", "/ready", "/live")
        told += [operator.ask("GET", path)[1] for path in shown]
        told += [visitor.ask("GET", path)[1] for path in ("/ready", "/live", "/v1/info")]
        report = {"room": client.b64url(keys.room)}
        told.append(operator.ask("POST", "/admin/rooms/close", report)[1])
        operator.ask("POST", "/admin/rooms/close", {"room": canaries.text("reported room")})
    return told, visitor.errors + operator.errors, visitor.fields + operator.fields


def said_by(command, environment):
    """What a command of the binary prints, on both streams."""
    path = {"PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [BINARY, *command], env={**path, **environment}, capture_output=True, timeout=20, check=False
    )
    return ran.stdout + ran.stderr


def check(environment):
    """One relay with this environment, visited and searched."""
    canaries = Canaries()
    # One is in what an operator is shown, the other in what is logged.
    shown, logged = "shown" + secrets.token_hex(7), str(5_000_000 + secrets.randbelow(5_000_000))
    environment = {
        "LOG_LEVEL": "trace",
        "LOG_AGGREGATE_INTERVAL_S": "1",
        # A line that is left out could be the one that tells.
        "LOG_REPEATS_PER_MIN": "0",
        "TRUST_PROXY": "1",
        "INSTANCE_ID": shown,
        "MAX_TRACKED_ADDRESSES": logged,
        "JOIN_TOKEN_SECRET": canaries.keep("JOIN_TOKEN_SECRET", secrets.token_urlsafe(32)).decode(),
        "TOKEN_PREVIOUS_KID": "k0",
        "JOIN_TOKEN_SECRET_PREVIOUS": canaries.keep("previous", secrets.token_urlsafe(32)).decode(),
        "MAX_CONNS_PER_IP": "100",
        "MAX_FAULTS_PER_IP": "1000",
        **environment,
    }
    with Relay(**environment) as relay:
        told, errors, fields = visit(relay, canaries)
    places = {
        "log": b"".join(relay.said),
        "operator": b"\n".join(told),
        "error": b"\n".join(errors),
        "header fields": b"\n".join(fields),
        "lethewire config": said_by(["config"], environment),
    }
    controls = {
        "log": logged,
        "operator": shown,
        "error": "urn:lethewire:problem:bad-request",
        "header fields": "application/openmetrics-text",
        "lethewire config": shown,
    }
    return search(canaries, places, controls)


def check_secrets(environment):
    """An operator's secrets: in a relay whose Redis does not answer, and where they are wrong."""
    canaries = Canaries()
    text = canaries.text
    logged = str(5_000_000 + secrets.randbelow(5_000_000))

    def secret(name):
        return canaries.keep(name, secrets.token_urlsafe(32)).decode()

    environment = {
        "LOG_LEVEL": "trace",
        "LOG_AGGREGATE_INTERVAL_S": "1",
        # A line that is left out could be the one that tells.
        "LOG_REPEATS_PER_MIN": "0",
        "MAX_TRACKED_ADDRESSES": logged,
        "JOIN_TOKEN_SECRET": secret("JOIN_TOKEN_SECRET"),
        "CLUSTER_SECRET": secret("CLUSTER_SECRET"),
        # The discard port: nobody answers there.
        "REDIS_URL": "redis://%s:%s@127.0.0.1:9/0" % (text("user of Redis"), text("its password")),
        **environment,
    }
    with Relay(**environment) as relay:
        operator = Visitor(relay.operations, canaries)
        told = [operator.ask("GET", "/health")[1]]
        heard(relay, b"Redis is not reached")
        heard(relay, b'"totals"')
        for path in ("/health", "/ready", "/metrics", "/admin/config"):
            told.append(operator.ask("GET", path)[1])
    wrong = {
        "JOIN_TOKEN_SECRET": text("a short secret"),
        "CLUSTER_SECRET": text("another short secret"),
        "REDIS_URL": "redis://%s:%s@:port" % (text("no user"), text("no password")),
        "REDIS_SENTINEL_MASTER": text("no master") + "/",
        "DEPLOYMENT_ENV": "production",
    }
    places = {
        "log": b"".join(relay.said),
        "operator": b"\n".join(told),
        "lethewire config": said_by(["config"], environment),
        "lethewire config, wrong": said_by(["config"], wrong),
        "lethewire serve, wrong": said_by(["serve"], wrong),
    }
    controls = {
        "log": logged,
        "operator": logged,
        "lethewire config": logged,
        "lethewire config, wrong": "CLUSTER_SECRET",
        "lethewire serve, wrong": "CLUSTER_SECRET",
    }
    return search(canaries, places, controls)


def heard(relay, text):
    """Waits until the relay has said something."""
    with relay.has_said:
        if not relay.has_said.wait_for(lambda: any(text in line for line in relay.said), timeout=20):
            sys.exit("the log never had %r" % text)


def search(canaries, places, controls):
    """Looks for every canary in every place, after having found what should be there."""
    for place, text in places.items():
        control = Canaries()
        control.values = {"control": controls[place].encode()}
        if not control.found_in(place, text):
            sys.exit("%s does not have its control: nothing is looked at" % place)
    found = [hit for place, text in places.items() for hit in canaries.found_in(place, text)]
    if found:
        sys.exit("canaries were found:\n  " + "\n  ".join(found))
    return len(canaries.values), {place: len(text) for place, text in places.items()}


def control_of_spellings():
    """Every spelling of every kind of value is found where it stands."""
    kinds = (b"canary0123456789abcd", *map(secrets.token_bytes, (32, 24, 16, 8)))
    for value in (*kinds, ipaddress.ip_address(FORWARDED).packed):
        control = Canaries()
        control.values = {"control": value}
        for how, needle in spellings(value):
            raw_address = how == "raw" and len(value) == 4
            short = len(needle) < 8 and not raw_address
            hits = control.found_in("", b"before " + needle + b" behind")
            if short or not any(hit.endswith(how) for hit in hits):
                sys.exit("the spelling %s of a canary is not found" % how)
        if len(value) == 4:
            continue
        for shift in range(6):
            longer = base64.b64encode(bytes(shift) + value + bytes(5))
            if not control.found_in("", longer):
                sys.exit("base64 of something longer is not searched, %d" % shift)


def main():
    control_of_spellings()
    production = {"DEPLOYMENT_ENV": "production", "PUBLIC_URL": "https://relay.example"}
    for name, environment in (("development", {}), ("production", production)):
        for searched in (check, check_secrets):
            count, sizes = searched(environment)
            print("canary: %s: none of %d canaries in %s" % (name, count, sizes))


if __name__ == "__main__":
    main()
