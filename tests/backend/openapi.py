"""docs/openapi.yaml: it is valid, has the routes of src/http/ and no others, and every answer of a relay is one of its own.

Every example is sent, and every status that is named has to be seen, on each listener that has the call.
"""

import functools
import http.client
import json
import re
import urllib.parse

import jsonschema
import openapi_spec_validator
import referencing
import yaml

from kit import ROOT, SECONDS, Relay, expect, random_text, request

DOCUMENT = ROOT / "docs/openapi.yaml"
# By the port that the document gives them.
LISTENERS = {8080: "members", 9090: "operations"}
# Where the routes are in the source, and what they begin with.
SOURCES = {"members": ("public.rs", "fn of(", "fn counted("), "operations": ("ops.rs", "async fn route(", "enum Route")}
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "lethewire.v1",
}
PAGE = {"Origin": "https://stranger.example"}


def load():
    text = DOCUMENT.read_text()
    openapi_spec_validator.validate(yaml.safe_load(text))
    # Absolute, so that a schema can be used wherever it stands.
    return yaml.safe_load(text.replace("'#/components", "'urn:openapi#/components"))


class Interface:
    """The document, and what has been seen of it."""

    def __init__(self, document):
        self.document = document
        resource = referencing.jsonschema.DRAFT202012.create_resource(document)
        self.registry = referencing.Registry().with_resource("urn:openapi", resource)
        self.seen = set()

    def operations(self):
        """Every operation, as (listener, method, path, itself)."""
        for path, item in self.document["paths"].items():
            for server in item.get("servers", self.document["servers"]):
                listener = LISTENERS[urllib.parse.urlsplit(server["url"]).port]
                for method in {"get", "post"} & item.keys():
                    yield listener, method.upper(), path, item[method]

    def resolved(self, value):
        reference = value.get("$ref")
        return self.registry.resolver().lookup(reference).contents if reference else value

    def fits(self, value, schema, about):
        validator = jsonschema.Draft202012Validator(schema, registry=self.registry)
        problems = ["%s: %s" % (about, error.message) for error in validator.iter_errors(value)]
        if problems:
            raise SystemExit("\n".join(problems))

    def judge(self, listener, method, path, status, fields, body):
        """Whether an answer is one that the document describes."""
        about = "%s %s %d (%s)" % (method, path, status, listener)
        known = [op for where, verb, at, op in self.operations() if (where, verb, at) == (listener, method, path)]
        # Another method is not an operation; its answer is what every operation has by default.
        operation = known[0] if known else self.document["paths"][path][self.only_method(path)]
        named = operation["responses"].get(str(status)) if known else None
        response = self.resolved(named or operation["responses"]["default"])
        for name, header in response.get("headers", {}).items():
            header = self.resolved(header)
            expect(name.lower() in fields or not header.get("required"), True, "%s: %s" % (about, name))
            if name.lower() in fields:
                self.fits(fields[name.lower()], header["schema"], "%s: %s" % (about, name))
        if "content" in response:
            kind = fields.get("content-type", "").partition(";")[0]
            expect(kind in response["content"], True, "%s: %s" % (about, kind))
            value = json.loads(body) if kind.endswith("json") else body.decode()
            self.fits(value, response["content"][kind]["schema"], about)
        else:
            expect(body, b"", about)
        self.seen.add((listener, method, path, str(status) if named else "default"))

    def only_method(self, path):
        return next(iter({"get", "post"} & self.document["paths"][path].keys()))

    def unseen(self):
        named = {
            (listener, method, path, status)
            for listener, method, path, operation in self.operations()
            for status in operation["responses"]
            if status != "default"
        }
        return sorted(named - self.seen)


def check():
    interface = Interface(load())
    check_routes(interface)
    with Relay(FEATURE_DEMO_PAGE="true") as relay:
        sender = functools.partial(send, interface, relay)
        check_examples(interface, sender)
        check_refusals(interface, sender)
        check_drain(relay, sender)
    check_limits(interface)
    expect(interface.unseen(), [], "named in docs/openapi.yaml and never seen")
    return "%d operations, %d kinds of answers" % (len(list(interface.operations())), len(interface.seen))


def check_routes(interface):
    """The paths of the document are those of the source."""
    for listener, (name, begin, end) in SOURCES.items():
        text = (ROOT / "src/http" / name).read_text()
        part = text[text.index(begin) : text.index(end, text.index(begin))]
        routes = set(re.findall(r'"(/[^"]*)"', part))
        if "WS_PATH =>" in part:
            routes.add(re.search(r'const WS_PATH: &str = "([^"]+)"', text).group(1))
        described = {path for where, _, path, _ in interface.operations() if where == listener}
        expect(described, routes, "paths on the listener of " + listener)


def send(interface, relay, method, path, status, body=None, headers=(), listener="members"):
    """Sends one request, whose answer has to have this status and to be described."""
    base = relay.members if listener == "members" else relay.operations
    seen, fields, answer = request(base, method, path, body, headers)
    expect(seen, status, "%s %s (%s): %r" % (method, path, listener, answer))
    interface.judge(listener, method, path, seen, fields, answer)
    return json.loads(answer) if answer and fields["content-type"].endswith("json") else answer


def examples(interface, path):
    content = interface.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    for name, example in content["examples"].items():
        interface.fits(example["value"], content["schema"], "%s, example %s" % (path, name))
        yield name, example["value"]


def check_examples(interface, sender):
    """Each example as it stands; between them the room is locked, and at the end closed."""
    rooms, tokens = (dict(examples(interface, path)) for path in ("/v1/rooms", "/v1/tokens"))
    sender("POST", "/v1/rooms", 201, rooms.pop("plain"))
    for body in rooms.values():
        sender("POST", "/v1/rooms", 200, body)
    for body in tokens.values():
        sender("POST", "/v1/tokens", 200, body)
    for name, body in examples(interface, "/v1/owner"):
        sender("POST", "/v1/owner", {"kick": 404}.get(name, 204), body)
        ends = {"lock": 423, "close": 410}.get(name)
        if ends:
            sender("POST", "/v1/rooms", ends, rooms["small"])
            sender("POST", "/v1/tokens", ends, tokens["member"])
    sender("POST", "/v1/owner", 410, body)
    for name, body in examples(interface, "/admin/rooms/close"):
        sender("POST", "/admin/rooms/close", 204, body, listener="operations")
    for path in ("/live", "/ready"):
        sender("GET", path, 200)
    sender("GET", "/v1/info", 200)
    for path in ("/live", "/ready", "/health", "/metrics", "/admin/config"):
        sender("GET", path, 200, listener="operations")
    sender("GET", "/metrics", 200, headers={"Accept": "application/json"}, listener="operations")


def check_refusals(interface, sender):
    """What is malformed, not allowed or not there."""
    for listener, method, path, operation in list(interface.operations()):
        to = functools.partial(sender, listener=listener)
        to("PUT", path, 405)
        if "403" in operation["responses"]:
            to(method, path, 403, headers=PAGE)
        if "requestBody" in operation:
            to(method, path, 400, {})
            to(method, path, 400, {"room": 1})
            to(method, path, 413, b"x" * 4096, {"Content-Type": "application/json"})
            to(method, path, 415, b"{}", {"Content-Type": "text/plain"})
    room = {"room": random_text(16)}
    sender("POST", "/v1/tokens", 403, {**room, "key": random_text(32)})
    sender("POST", "/v1/owner", 403, {**room, "owner_secret": random_text(32), "op": "lock"})
    sender("GET", "/v1/ws", 426)
    sender("GET", "/v1/ws", 400, headers={**HANDSHAKE, "Sec-WebSocket-Key": "short"})
    sender("GET", "/v1/ws", 101, headers=HANDSHAKE)


def small_room(sender):
    """A room for two, and the body that made it."""
    made = {"key": random_text(32), "owner": random_text(16), "options": {"members_max": 2}}
    return sender("POST", "/v1/rooms", 201, made), made


def member(relay, grant):
    """Somebody who joins, and then neither reads nor answers."""
    address = urllib.parse.urlsplit(relay.members)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=SECONDS)
    connection.request("GET", "/v1/ws", headers={**HANDSHAKE, "Authorization": "Bearer " + grant["token"]})
    expect(connection.getresponse().status, 101, "a member joins")
    return connection


def check_drain(relay, sender):
    """While somebody is there who does not go, a relay that drains takes nobody."""
    grant, made = small_room(sender)
    door = {"room": grant["room"], "key": made["key"]}
    members = [member(relay, one) for one in (grant, sender("POST", "/v1/tokens", 200, door))]
    sender("POST", "/v1/rooms", 409, made)
    sender("POST", "/v1/tokens", 409, door)
    sender("POST", "/admin/drain", 202, listener="operations")
    for listener in LISTENERS.values():
        sender("GET", "/ready", 503, listener=listener)
    sender("POST", "/v1/rooms", 503, made)
    sender("POST", "/v1/tokens", 503, door)
    sender("POST", "/v1/owner", 503, {})
    sender("GET", "/v1/ws", 503, headers=HANDSHAKE)
    for connection in members:
        connection.close()
    expect(relay.process.wait(timeout=SECONDS), 0, "the drained relay ends")


def check_limits(interface):
    """A relay with a place for one room, four calls and one handshake."""
    variables = {"MAX_ROOMS": "1", "MAX_HTTP_REQUESTS_PER_IP_PER_MIN": "4", "MAX_HANDSHAKES_PER_IP_PER_10S": "1"}
    with Relay(**variables) as relay:
        sender = functools.partial(send, interface, relay)
        small_room(sender)
        sender("GET", "/health", 503, listener="operations")
        sender("POST", "/admin/rooms/close", 503, {"room": random_text(16)}, listener="operations")
        for _ in range(3):
            sender("POST", "/v1/rooms", 503, {"key": random_text(32), "owner": random_text(16)})
        for path in ("/v1/rooms", "/v1/tokens", "/v1/owner"):
            sender("POST", path, 429, {})
        sender("GET", "/v1/ws", 101, headers=HANDSHAKE)
        sender("GET", "/v1/ws", 429, headers=HANDSHAKE)
