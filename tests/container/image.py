"""The image: what is in it, how large it is, who runs it, and that it starts with nothing but secrets."""

import io
import json
import os
import pathlib
import struct
import subprocess
import tarfile
import time
import tomllib
import zlib

from docker import check, docker, health, inspect, is_healthy

NAME = "lethewire-test/relay:check"
# A profile of Cargo.toml. `release` takes minutes of optimising, which show only in the size.
PROFILE = os.environ.get("CONTAINER_PROFILE", "quick")
BYTES_MAX = {"release": 12_000_000, "quick": 30_000_000}[PROFILE]
REVISION = "0123456789abcdef"

# How docker-compose.yml runs everything.
LOCKED_IN = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def build():
    options = {
        "BUILDER": os.environ["BUILDER"],
        "PROFILE": PROFILE,
        "REVISION": REVISION,
    }
    arguments = ["--build-arg=%s=%s" % option for option in options.items()]
    docker("build", "--network=none", "--progress=plain", "--tag", NAME, *arguments, ".")


def what_the_label_says():
    made = inspect(NAME)
    version = tomllib.loads(pathlib.Path("Cargo.toml").read_text())["package"]["version"]
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in made["Config"]["Labels"].items()
    }
    check(labels["version"], version, "ARG VERSION of the Dockerfile")
    check(labels["revision"], REVISION)
    check(labels["licenses"], "MIT OR Apache-2.0")
    check(set(labels) >= {"title", "description", "source"}, True, labels)
    check(made["Config"]["User"], "65532:65532")
    check(made["Config"]["StopSignal"], "SIGTERM")
    check(made["Config"]["Entrypoint"], ["/lethewire"])
    if not 0 < made["Size"] <= BYTES_MAX:
        raise SystemExit("the image has %d bytes" % made["Size"])
    return "%.1f MB" % (made["Size"] / 1e6)


def nothing_else_is_in_it():
    """The files of the image; the engine adds empty ones that it mounts over."""
    container = docker("create", NAME)[1].strip()
    exported = subprocess.run(["docker", "export", container], check=True, stdout=subprocess.PIPE)
    docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported.stdout)) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}
    check(
        sorted(name for name, content in files.items() if content),
        [
            "etc/ssl/certs/ca-certificates.crt",
            "lethewire",
            "licenses/LICENSE-APACHE",
            "licenses/LICENSE-MIT",
        ],
    )
    return files["lethewire"]


def sections(program):
    """The sections of a 64-bit ELF file, by name."""
    at, size, count, names = struct.unpack_from("<Q10xHHH", program, 40)
    heads = [struct.unpack_from("<IIQQQQ", program, at + size * n) for n in range(count)]
    texts = heads[names][4]
    found = {}
    for name, _, _, _, offset, length in heads:
        start = texts + name
        word = program[start : program.index(b"\0", start)].decode()
        found[word] = program[offset : offset + length]
    return found


def it_says_what_it_was_built_from(program):
    parts = sections(program)
    check(".interp" in parts, False, "linked statically")
    check(".symtab" in parts, False, "stripped")
    bill = json.loads(zlib.decompress(parts[".dep-v0"]))
    inside = {(part["name"], part["version"]) for part in bill["packages"]}
    locked = tomllib.loads(pathlib.Path("Cargo.lock").read_text())["package"]
    locked = {(part["name"], part["version"]) for part in locked}
    check(inside - locked, set(), "in the binary and not in Cargo.lock")
    check({"lethewire", "tokio", "hyper", "redis", "rustls"} - dict(inside).keys(), set())
    return "%d packages" % len(inside)


def there_is_no_shell():
    for program in ("/bin/sh", "/bin/bash", "/usr/bin/env"):
        code, said = docker("run", "--rm", "--entrypoint", program, NAME, succeeds=False)
        check((code, "no such file" in said), (127, True), said)


def it_refuses_to_start_without_a_secret():
    code, said = docker("run", "--rm", *LOCKED_IN, NAME, succeeds=False)
    check((code, "JOIN_TOKEN_SECRET" in said), (78, True), said)


def it_becomes_healthy_and_ends_when_asked():
    """Locked in, without a network, from the template and one secret."""
    secret = "JOIN_TOKEN_SECRET=" + os.urandom(32).hex()
    options = [*LOCKED_IN, "--network=none", "--env-file=.env.production", "--env", secret]
    # As often as an engine asks, so that nobody waits.
    options += ["--health-interval=1s", "--name=alone", "--detach"]
    docker("run", *options, NAME)
    try:
        is_healthy("alone")
        check(health("alone")[1], "ready")
        docker("stop", "--time=40", "alone")
        check(inspect("alone")["State"]["ExitCode"], 0, docker("logs", "alone")[1])
    finally:
        docker("rm", "--force", "alone")


def check_all():
    started = time.monotonic()
    build()
    took = time.monotonic() - started
    print("container: image: %s, %s, built in %d s" % (PROFILE, what_the_label_says(), took))
    program = nothing_else_is_in_it()
    print("container: bill of materials: %s" % it_says_what_it_was_built_from(program))
    for test in (
        there_is_no_shell,
        it_refuses_to_start_without_a_secret,
        it_becomes_healthy_and_ends_when_asked,
    ):
        test()
        print("container: %s: ok" % test.__name__)
