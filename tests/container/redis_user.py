"""The relays' user in Redis: it can do what they need, which is seen, and nothing else."""

import hashlib
import secrets

from docker import check, docker

# Who looks, in this test only.
INSPECTOR, PASSWORD = "inspector", secrets.token_hex(16)

# Granted, and used only where nobody is in this test: what for.
RARELY = {
    "cluster|slots": "a Redis Cluster: where each partition is",
    "eval": "a server that has forgotten the scripts",
    "hdel": "members that leave without saying so",
    "hkeys": "an order that has gathered more than 512 nodes",
    "hlen": "the same, and how full a roster is",
}

REFUSED = (
    "GET lw:x",
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "FLUSHALL",
    "CONFIG GET maxmemory",
    "CLIENT LIST",
    "MONITOR",
    "ACL LIST",
    "SCRIPT FLUSH",
    "SUBSCRIBE lw:x",
    "PSUBSCRIBE *",
    "SSUBSCRIBE other",
    "SPUBLISH other x",
    "SET other x",
    "HGETALL other",
    "EVAL return(redis.call('get','lw:x')) 0",
    "SHUTDOWN",
)


def add_inspector(users):
    """Adds who may look to the file with the users."""
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    rights = "+info +acl|log"
    text = users.read_text()
    users.chmod(0o644)
    users.write_text(text + "user %s on #%s -@all %s\n" % (INSPECTOR, digest, rights))


def ask(container, user, password, command):
    login = ["--no-auth-warning", "--user", user, "--pass", password] if user else []
    words = ["redis-cli", *login, *command.split()]
    return docker("exec", container, *words, succeeds=False)[1]


def check_rights(container, folder):
    """After a run in which everything was done that a relay does."""

    def look(command):
        return ask(container, INSPECTOR, PASSWORD, command)

    # Nothing was refused so far.
    check(look("ACL LOG").strip(), "", "what was refused to the relays")
    used = {
        line.removeprefix("cmdstat_").split(":")[0]
        for line in look("INFO commandstats").splitlines()
        if line.startswith("cmdstat_")
    }
    # What this test and the health check did.
    used -= {"info", "ping", "auth", "acl|log"}
    text = (folder / "redis_users").read_text()
    (rights,) = [line.split() for line in text.splitlines() if line.startswith("user lethewire ")]
    granted = {word.removeprefix("+") for word in rights if word.startswith("+")} - {"info"}
    check(granted - used - RARELY.keys(), set(), "granted and not used")
    check(RARELY.keys() - granted, set(), "explained and not granted")
    refuses(container, folder)


def refuses(container, folder):
    url = (folder / "redis_url").read_text().strip()
    password = url.removeprefix("redis://lethewire:").split("@")[0]
    for command in REFUSED:
        said = ask(container, "lethewire", password, command)
        if not said.startswith(("NOPERM", "ERR The user executing the script", "ERR ACL failure")):
            raise SystemExit("%s was not refused: %s" % (command, said))
    # Nobody gets in without a name, and who may ping may only do that.
    check(ask(container, "", "", "PING").split()[0], "NOAUTH")
    check(ask(container, "health", "none", "PING").strip(), "PONG")
    check(ask(container, "health", "none", "EXISTS lw:x").split()[0], "NOPERM")
