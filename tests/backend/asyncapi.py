"""docs/asyncapi.yaml: it is valid, names what the source names, and describes what a relay says.

Every example of what a member says is said, and whatever the relay answers has to be described.
"""

import json
import os
import pathlib
import re

import jsonschema
import referencing
import yaml

from kit import ROOT, Relay, Seat, b64url, expect, random_text, request, ws_of

DOCUMENT = ROOT / "docs/asyncapi.yaml"
# What only several relays say, together; the SDK's and the cluster's tests hear them.
OF_SEVERAL = {"paused", "resumed", "gap", "reset"}


class Messages:
    """The messages of the document, and which of them were heard."""

    def __init__(self):
        text = DOCUMENT.read_text()
        self.document = yaml.safe_load(text)
        check_schema(json.loads(json.dumps(self.document)))
        absolute = yaml.safe_load(text.replace("'#/", "'urn:asyncapi#/"))
        resource = referencing.jsonschema.DRAFT7.create_resource(absolute)
        self.registry = referencing.Registry().with_resource("urn:asyncapi", resource)
        self.messages = absolute["components"]["messages"]
        self.heard = set()

    def said_by(self, *operations):
        """Names of the messages of some operations, through the channel."""
        resolver = self.registry.resolver("urn:asyncapi")
        names = []
        for operation in operations:
            for reference in self.document["operations"][operation]["messages"]:
                resolver.lookup(reference["$ref"])
                names.append(reference["$ref"].rpartition("/")[2])
        return names

    def fits(self, name, payload):
        schema = self.messages[name]["payload"]
        for error in jsonschema.Draft7Validator(schema, registry=self.registry).iter_errors(payload):
            raise SystemExit("asyncapi: %s: %s" % (name, error.message))

    def hears(self, frames):
        for frame in frames:
            expect(frame["type"] in self.said_by("tell"), True, frame["type"])
            self.fits(frame["type"], frame)
            self.heard.add(frame["type"])

    def examples(self, name):
        return [example["payload"] for example in self.messages[name]["examples"]]


def check_schema(document):
    """What AsyncAPI's own schema says, and that every reference leads somewhere."""
    schema = json.loads(pathlib.Path(os.environ["ASYNCAPI_SCHEMA"]).read_text())
    for error in jsonschema.Draft7Validator(schema).iter_errors(document):
        raise SystemExit("asyncapi: %s: %s" % ("/".join(map(str, error.absolute_path)), error.message[:300]))
    registry = referencing.Registry().with_resource(
        "urn:asyncapi", referencing.jsonschema.DRAFT7.create_resource(document)
    )
    for reference in re.findall(r"\$ref: '(#[^']+)'", DOCUMENT.read_text()):
        registry.resolver("urn:asyncapi").lookup("urn:asyncapi" + reference)


def check():
    messages = Messages()
    check_source(messages)
    for name in messages.messages:
        for payload in messages.examples(name):
            messages.fits(name, payload)
    with Relay() as relay:
        check_session(messages, relay)
        check_drain(messages, relay)
    controls = set(messages.said_by("tell"))
    expect(controls - messages.heard, OF_SEVERAL, "described and never heard")
    return "%d messages, %d close codes" % (len(messages.messages), len(close_codes(messages)))


def variants(text, name):
    """The names of an enum's variants."""
    body = re.search(r"enum %s\b.*?\n}" % name, text, re.DOTALL).group()
    return re.findall(r"^    ([A-Z]\w+)", body, re.MULTILINE)


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def close_codes(messages):
    return messages.document["channels"]["room"]["x-close-codes"]


def check_source(messages):
    """Types, error codes and close codes are those of the source and of docs/protocol.md."""
    wire = "".join((ROOT / "src/core/wire" / name).read_text() for name in ("control.rs", "relay.rs"))
    said = re.findall(r'\b(?:short|long)\((?:.*, )?"(\w+)", \|text\|', wire)
    expect(sorted(messages.said_by("tell")), sorted(said), "relay's types")
    types = [messages.messages[name]["payload"]["properties"]["type"]["const"] for name in messages.said_by("obey")]
    expect(sorted(types), sorted(map(str.lower, variants(wire, "ClientControl"))), "members' types")
    for message, member, enum in (("error", "code", "Refused"), ("owner", "op", "OwnerOp"), ("leave", "why", "Gone")):
        listed = messages.messages[message]["payload"]["properties"][member]["enum"]
        expect(sorted(listed), sorted(map(snake, variants(wire, enum))), "%s.%s" % (message, member))
    source = (ROOT / "src/core/close.rs").read_text()
    numbers = dict(re.findall(r"^    (\w+) = (\d{4}),", source, re.MULTILINE))
    names = dict(re.findall(r'Self::(\w+) => "(\w+)"', source))
    expect(close_codes(messages), {int(code): names[variant] for variant, code in numbers.items()}, "src/core/close.rs")
    table = re.findall(r"^\| (\d{4}) \| `(\w+)`", (ROOT / "docs/protocol.md").read_text(), re.MULTILINE)
    expect(close_codes(messages), {int(code): name for code, name in table}, "docs/protocol.md")


def post(relay, path, body):
    status, _, answer = request(relay.members, "POST", path, body)
    expect(status in (200, 201), True, path)
    return json.loads(answer)


def seats(relay):
    """An owner and a guest in a room of their own."""
    link = json.loads((ROOT / "tests/vectors/link.json").read_text())["cases"][0]
    owner, secret, key = (b64url(bytes.fromhex(link[name])) for name in ("owner_hash", "owner_secret", "admission_key"))
    made = post(relay, "/v1/rooms", {"key": key, "owner": owner})
    door = {"room": made["room"], "key": key}
    owners = post(relay, "/v1/tokens", {**door, "owner_secret": secret})
    return Seat(made["ws"], owners["token"]), Seat(made["ws"], made["token"]), door


def check_session(messages, relay):
    """One session, in which every example of a member is said as it stands."""
    ann, bob, door = seats(relay)
    ann.hears("welcome")
    name = bob.hears("welcome")["member"]
    ann.hears("join")
    to_everybody, to_nobody = map(bytes.fromhex, messages.examples("sent"))
    bob.says(to_everybody)
    bob.hears("ack")
    messages.fits("delivered", ann.message().hex())
    bob.says(to_nobody)
    expect(bob.hears("error")["code"], "no_such_member", "DIRECT")
    for payload in messages.examples("ping"):
        bob.tells(**payload)
        expect(bob.hears("pong")["n"], payload["n"], "ping")
    lock, unlock, kick, close = messages.examples("owner")
    bob.tells(**lock)
    expect(bob.hears("error")["code"], "not_permitted", "no owner")
    for payload in (lock, unlock):
        ann.tells(**payload)
        expect([seat.hears("room")["locked"] for seat in (ann, bob)], [payload is lock] * 2, payload)
    ann.tells(**kick)
    expect(ann.hears("error")["code"], "no_such_member", "kick")
    ann.tells(**{**kick, "member": name})
    expect(ann.hears("leave")["why"], "kicked", "kick")
    expect(bob.ends(), (4004, close_codes(messages)[4004]), "kick")
    guest = Seat(ws_of(relay), post(relay, "/v1/tokens", door)["token"])
    guest.hears("welcome")
    ann.hears("join")
    guest.tells(**messages.examples("goodbye")[0])
    expect(guest.ends(), (1000, close_codes(messages)[1000]), "leave")
    expect(ann.hears("leave")["why"], "left", "leave")
    ann.tells(**close)
    ann.hears("closed")
    expect(ann.ends(), (4002, close_codes(messages)[4002]), "close")
    for seat in (ann, bob, guest):
        messages.hears(seat.heard)


def check_drain(messages, relay):
    made = post(relay, "/v1/rooms", {"key": random_text(32), "owner": random_text(16)})
    ann = Seat(made["ws"], made["token"])
    ann.hears("welcome")
    expect(request(relay.operations, "POST", "/admin/drain")[0], 202, "drain")
    ann.hears("drain")
    expect(ann.ends(), (1012, close_codes(messages)[1012]), "drain")
    messages.hears(ann.heard)
    expect(relay.process.wait(timeout=20), 0, "the drained relay ends")
