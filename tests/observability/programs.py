"""Starts programs that say where they listen, and stops them again."""

import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request


class Program:
    """A running program; `with` ends it. Whatever `pattern` finds in its output is where it listens."""

    def __init__(self, arguments, pattern, env=None):
        self.name = arguments[0]
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            text=True,
        )
        self.said, self.address = [], None
        self.pattern = re.compile(pattern)
        self.listens = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.listens.wait(timeout=30) or self.address is None:
            self.process.kill()
            raise SystemExit("%s did not start:\n%s" % (self.name, "".join(self.said)))

    def _read(self):
        for line in self.process.stdout:
            self.said.append(line)
            if self.address is None and (found := self.pattern.search(line)):
                self.address = found.group(1)
                self.listens.set()
        self.listens.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def run(*arguments):
    """Runs a program to its end and returns its output; its failure is ours."""
    done = subprocess.run(
        [str(argument) for argument in arguments], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        line = " ".join(str(argument) for argument in arguments)
        raise SystemExit("%s\n%s%s" % (line, done.stdout, done.stderr))
    return done.stdout


def fetch(url, body=None):
    """The body of an answer, whatever its status."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.read().decode()


def until(what, holds, seconds=40):
    """Asks again and again until it holds, and returns what it holds; `what` may be asked for in the end."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise SystemExit("observability: waited in vain for " + (what() if callable(what) else what))
        pause.wait(0.1)
    return found
