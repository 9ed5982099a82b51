"""Calls of the Docker engine that engine.sh started, and waiting for what becomes of it."""

import json
import subprocess
import time


def run(*command, succeeds=True, **options):
    """Runs a program to its end; returns its exit code and everything that it said."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, **options
    )
    said = done.stdout.decode(errors="replace")
    if succeeds and done.returncode != 0:
        raise SystemExit("%s: exit code %d\n%s" % (" ".join(command), done.returncode, said))
    return done.returncode, said


def docker(*arguments, **options):
    return run("docker", *arguments, **options)


def inspect(name):
    return json.loads(docker("inspect", name)[1])[0]


def health(name):
    """starting, healthy or unhealthy; and what the last check said."""
    state = inspect(name)["State"]
    log = state["Health"]["Log"] or [{"Output": ""}]
    return state["Health"]["Status"], log[-1]["Output"].strip()


def is_healthy(name, seconds=90):
    """Waits until the engine says so."""
    now = int(time.time())
    span = ["--since=%d" % (now - 1), "--until=%d" % (now + seconds), "--format={{.Status}}"]
    filters = ["--filter=event=health_status", "--filter=container=%s" % name]
    events = subprocess.Popen(
        ["docker", "events", *span, *filters], stdout=subprocess.PIPE, text=True
    )
    try:
        # What it has become before is no event any more.
        if health(name)[0] == "healthy":
            return
        for line in events.stdout:
            if line.strip() == "health_status: healthy":
                return
    finally:
        events.kill()
        events.wait()
    logs = docker("logs", "--tail=30", name)[1]
    raise SystemExit("%s is not healthy after %d s: %s\n%s" % (name, seconds, health(name), logs))


def check(seen, expected, what=""):
    if seen != expected:
        raise SystemExit("%s: expected %r, got %r" % (what, expected, seen))
