"""examples/backend/: every minter's tokens are taken once, and for nothing but what they say."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

from kit import BINARY, ROOT, Relay, Seat, expect, random_text, request, ws_of

EXAMPLES = ROOT / "examples/backend"
# Node has WebSocket behind this option before version 22, and takes it silently afterwards.
NODE = ["node", "--experimental-websocket", "--no-warnings"]
MINTERS = {
    "node": [*NODE, EXAMPLES / "mint.mjs"],
    "python": ["python3", EXAMPLES / "mint.py"],
    "shell": [EXAMPLES / "mint.sh"],
    "rust": [os.environ.get("BACKEND_MINT", "")],
}
SECONDS = 20
# No grace for other clocks, so that what has expired is refused at once.
SKEW_S = 0


class Backend:
    """Runs the examples with the settings of a relay."""

    def __init__(self, folder, relay):
        self.folder, self.relay = folder, relay
        self.settings = {"PATH": os.environ["PATH"], "TOKEN_AUDIENCE": "relay.example"}
        self.settings["JOIN_TOKEN_SECRET_FILE"] = str(folder / "secret")

    def run(self, *command, **settings):
        done = subprocess.run(
            [*command], env={**self.settings, **settings}, timeout=SECONDS, capture_output=True, text=True
        )
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def mint(self, language, room, cap, *times, **settings):
        code, token, complaint = self.run(*MINTERS[language], room, cap, *map(str, times), **settings)
        expect((code, complaint), (0, ""), "mint in " + language)
        return token

    def join(self, token):
        return Seat(ws_of(self.relay), token)

    def is_refused(self, token, code, name, about):
        expect(self.join(token).ends(), (code, name), about)

    def waits_for_its_end(self, token):
        """Asks the relay's own program about a token until that says that its time is over."""
        deadline = time.monotonic() + SECONDS
        skew = {"TOKEN_SKEW_S": str(SKEW_S)}
        while "its time is over" not in self.run(BINARY, "token", "inspect", token, **skew)[1]:
            expect(time.monotonic() < deadline, True, "a token ends")

    def rules(self, room, *order):
        return self.run(*NODE, EXAMPLES / "owner.mjs", ws_of(self.relay), room, *order)


def check():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # The file as `openssl rand -base64 48` writes it, with the line's end.
        for file in ("secret", "other"):
            (folder / file).write_text(random_text(48) + "\n")
        variables = {
            "ROOM_ADMISSION": "backend",
            "JOIN_TOKEN_SECRET_FILE": str(folder / "secret"),
            "TOKEN_AUDIENCE": "relay.example",
            "TOKEN_SKEW_S": str(SKEW_S),
            # More than ten refusals a minute are wanted here, and they are what is tested.
            "MAX_FAILED_ADMISSIONS_PER_IP_PER_MIN": "1000",
        }
        with Relay(**variables) as relay:
            backend = Backend(folder, relay)
            for path in ("/v1/rooms", "/v1/tokens", "/v1/owner"):
                expect(request(relay.members, "POST", path, {})[0], 404, path)
            for language in MINTERS:
                check_minter(backend, language)
            check_owner(backend)
            check_application(backend)
    return "%s; owner's calls; the application" % ", ".join(MINTERS)


def check_minter(backend, language):
    """A token makes its room, is taken once, and is refused where anything about it is wrong."""
    def mint(*rest, **settings):
        return backend.mint(language, *rest, **settings)

    room, elsewhere, nowhere = random_text(16), random_text(32), random_text(16)
    # It lives a second, in which the others are made.
    short = mint(room, "sr", 1)
    backend.is_refused(mint(room, "sr"), 4101, "token_invalid", "no `c` and no room")
    # So does this session, which nobody ends but its token.
    guest = backend.join(mint(elsewhere, "src", 60, 1))
    guest.hears("welcome")
    token = mint(room, "src")
    ann = backend.join(token)
    expect(ann.hears("welcome")["cap"], "src", language)
    backend.is_refused(token, 4104, "token_used", language)
    bob = backend.join(mint(room, "r"))
    expect(bob.hears("welcome")["cap"], "r", language)
    bob.says(b"\x01\x01\x00\x01no")
    expect(bob.ends(), (4006, "not_permitted"), "without `s`")

    backend.is_refused(mint(nowhere, "sr"), 4101, "token_invalid", "a token for another room")
    other = mint(room, "sr", JOIN_TOKEN_SECRET_FILE=str(backend.folder / "other"))
    backend.is_refused(other, 4101, "token_invalid", "another secret")
    for wrong in ({"TOKEN_KID": "k9"}, {"TOKEN_ISSUER": "me"}, {"TOKEN_AUDIENCE": "you"}):
        backend.is_refused(mint(room, "sr", **wrong), 4101, "token_invalid", wrong)
    backend.is_refused(mint(room, "sr", 301), 4101, "token_invalid", "too long a life")
    backend.is_refused("", 4100, "token_missing", "none")
    backend.waits_for_its_end(short)
    backend.is_refused(short, 4102, "token_expired", language)
    expect(guest.ends(), (4103, "session_expired"), language)


def check_owner(backend):
    """The operations of owner.mjs, and the one of the operations listener."""
    room = random_text(16)
    expect(backend.rules(room, "lock"), (1, "", "token_invalid"), "a room that is not there")
    ann = backend.join(backend.mint("python", room, "src"))
    ann.hears("welcome")
    bob = backend.join(backend.mint("python", room, "sr"))
    name = bob.hears("welcome")["member"]
    ann.hears("join")

    expect(backend.rules(room, "kick", name), (0, "", ""), "kick")
    bob.hears("join")
    expect(bob.ends(), (4004, "kicked"), "kick")
    heard = [ann.next() for _ in range(3)]
    expect([frame["type"] for frame in heard], ["join", "leave", "leave"], "the backend's own visit")
    expect((heard[1]["member"], heard[1]["why"]), (name, "kicked"), "kick")
    expect(backend.rules(room, "kick", name), (1, "", "no_such_member"), "kick")

    expect(backend.rules(room, "lock"), (0, "", ""), "lock")
    backend.is_refused(backend.mint("python", room, "sr"), 4003, "room_locked", "lock")
    expect(backend.rules(room, "unlock"), (0, "", ""), "unlock")
    backend.join(backend.mint("python", room, "sr")).hears("welcome")
    expect(backend.rules(room, "close"), (0, "", ""), "close")
    closed = backend.mint("python", room, "src")
    backend.is_refused(closed, 4002, "room_closed", "close")

    # Without a place in the room: for whoever reaches the operations listener.
    room = random_text(16)
    ann = backend.join(backend.mint("python", room, "src"))
    ann.hears("welcome")
    status, _, _ = request(backend.relay.operations, "POST", "/admin/rooms/close", {"room": room})
    expect(status, 204, "/admin/rooms/close")
    ann.hears("closed")
    expect(ann.ends(), (4002, "room_closed"), "/admin/rooms/close")


def check_application(backend):
    """Who enters and who rules is what app.mjs' policy says."""
    settings = {
        **backend.settings, "PORT": "0", "RELAY_WS": ws_of(backend.relay), "ROOM_NAME_SECRET": random_text(32)
    }  # fmt: skip
    command = [*NODE, EXAMPLES / "app.mjs"]
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            check_policy(backend, lambda user, path, body: call(address, user, path, body))
        finally:
            process.terminate()


def call(address, user, path, body):
    """One call of the application; its status, and its JSON if there is one."""
    headers = {"Authorization": "Bearer session-of-" + user}
    status, _, answer = request(address, "POST", path, body, headers)
    return status, json.loads(answer) if answer else None


def check_policy(backend, asks):
    def token(user, room="standup"):
        status, answer = asks(user, "/join", {"room": room})
        expect((status, answer["ws"]), (200, ws_of(backend.relay)), user)
        return answer["token"]

    for user, room in (("mallory", "standup"), ("bob", "board"), ("ann", "__proto__"), ("ann", "none")):
        expect(asks(user, "/join", {"room": room})[0], 403, (user, room))
    backend.is_refused(token("bob"), 4101, "token_invalid", "nobody opened the room")
    ann, bob, eve = (backend.join(token(user)) for user in ("ann", "bob", "eve"))
    expect([seat.hears("welcome")["cap"] for seat in (ann, bob, eve)], ["sroc", "sr", "r"], "policy")
    expect(bob.hears("join")["type"], "join", "eve comes")
    bob.says(b"\x01\x00\x00\x00hello")
    expect(eve.message()[20:], b"hello", "eve listens")

    kick = {"room": "standup", "op": "kick", "member": bob_name(bob)}
    expect(asks("bob", "/rule", kick)[0], 403, "bob is no owner")
    expect(asks("ann", "/rule", kick), (204, None), "ann is")
    bob.hears("join")
    expect(bob.ends(), (4004, "kicked"), "ann kicks bob")
    expect(asks("ann", "/rule", kick), (409, {"why": "no_such_member"}), "bob is gone")
    expect(asks("ann", "/rule", {"room": "standup", "op": "close"}), (204, None), "close")
    backend.is_refused(token("ann"), 4002, "room_closed", "the room is over")


def bob_name(seat):
    return seat.heard[0]["member"]
