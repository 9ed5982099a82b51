"""Runs the commands of the documents and compares what they print.

usage: run.py [document…]

Every fenced block of `sh` is run, in the order in which it stands, in one shell per document, on a
throw-away copy of this machine (tests/machine.sh): what a document has not set up before is not there. A block of `text` right
behind it is what it prints, to the letter; `…` stands for what varies, alone in a line for any lines.

A comment in front of a block says what is different about it:

    <!-- test ready: COMMAND -->     it does not end: it stays in the background, and the document goes on
                                     as soon as COMMAND succeeds
    <!-- test stop -->               before the next block, all of these are stopped and end with success
    <!-- test not run: WHY
    instead: COMMANDS -->            it cannot run here; COMMANDS check it in another way and print what
                                     it would print, and its syntax and the files that it names are checked

LETHEWIRE_BIN is the relay's binary. It needs root, for namespaces and an overlay.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MACHINE = ROOT / "tests/machine.sh"
DOCUMENTS = [
    "README.md",
    "DEPLOYMENT.md",
    "docs/tuning.md",
    "docs/upgrades.md",
    "deploy/redis/README.md",
    "deploy/systemd/README.md",
]
# Documents whose commands something else runs; here, their syntax and the files that they name are checked.
ELSEWHERE = {
    "BENCHMARKS.md": "written by bench/run.sh",
    "CONTRIBUTING.md": "its commands are check.sh itself",
    "deploy/compose/README.md": "./check.sh container builds and starts the same",
    "deploy/kubernetes/README.md": "they are a cluster's; ./check.sh deploy validates what they apply",
    "deploy/packages/README.md": "./check.sh deploy installs and uses the package, on a machine of its own",
    "docs/backend.md": "tests/backend runs the files of examples/backend against a relay",
    "docs/clients.md": "tests/clients/websocat.sh and python_client.py are its programs",
}
SECONDS_MAX = 300
TIMED_OUT = 124  # timeout(1)
KEYS = ("not run", "instead", "ready", "stop")
FOLDERS = r"(?:docs|deploy|config|examples|bench|tests|sdk|web|fuzz)/[\w./-]+"

FENCE = re.compile(
    r"(?P<comment>^<!-- test\b(?P<keys>.*?)-->\n+)?^(?P<indent> *)```(?P<kind>\w*)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)

PROLOGUE = """\
set -euo pipefail
set -m
staying=()
# Waits until a command succeeds, as long as what stays in the background (pid) does.
until_ready() {
  local deadline=$((SECONDS + 60))
  until (eval "$1") >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    # Its end, or the next try.
    if timeout 0.1 tail --pid="$2" -f /dev/null; then return 1; fi
  done
}
stop_all() {
  local pid
  for pid in "${staying[@]}"; do kill -TERM -- "-$pid" && wait "$pid"; done
  staying=()
}
"""


class Problem(Exception):
    """What is wrong with a document, in words for people."""


class Block:
    """One fenced block of commands, with what stands in front of it and behind it."""

    def __init__(self, document, line, body):
        self.place = f"{document}:{line}"
        self.body = body
        self.keys = {}
        self.expected = None

    def script(self, number):
        """The block as a part of the document's shell script."""
        commands = self.keys.get("instead", self.body)
        out = f"/out/{number}"
        lines = ["stop_all"] if "stop" in self.keys else []
        if "ready" in self.keys:
            ready = quote(self.keys["ready"])
            lines += [
                f"(\n{commands}\n) >{out} 2>&1 &",
                'staying+=("$!")',
                f'until_ready {ready} "$!" || {{ echo "never ready"; exit 1; }} >>{out}',
            ]
        else:
            lines += [f"{{\n{commands}\n}} >{out} 2>&1"]
        return "\n".join([*lines, f"touch {out}.passed"])


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def blocks_of(document, text):
    """The blocks of commands of a document, with the outputs that follow them."""
    found, end_of_last = [], None
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("kind")) + 1
        indent = fence["indent"]
        body = re.sub(f"^{indent}", "", fence["body"], flags=re.MULTILINE)
        between = "" if end_of_last is None else text[end_of_last : fence.start()]
        if fence["kind"] == "sh":
            block = Block(document, line, body)
            block.keys = keys_of(block.place, fence["keys"] or "")
            found.append(block)
            end_of_last = fence.end()
        elif fence["kind"] == "text" and end_of_last is not None and not between.strip():
            found[-1].expected = body
            end_of_last = None
        else:
            end_of_last = None
            if fence["comment"]:
                raise Problem(f"{document}:{line}: a comment for the test, but no block of sh")
    if text.count("<!-- test") != sum(bool(block.keys) for block in found):
        raise Problem(f"{document}: a comment for the test that does not stand in front of a block of sh")
    return found


def keys_of(place, comment):
    """The keys of a comment and their values; a value may go over several lines."""
    keys, key = {}, None
    for line in comment.strip().splitlines():
        name, colon, value = line.partition(":")
        if name.strip() in KEYS and (colon or name.strip() == "stop"):
            key = name.strip()
            keys[key] = value.strip()
        elif key:
            keys[key] += "\n" + line
        else:
            raise Problem(f"{place}: not understood: {line}")
    if ("not run" in keys) != ("instead" in keys):
        raise Problem(f"{place}: `not run` and `instead` go together")
    empty = [key for key, value in keys.items() if key != "stop" and not value.strip()]
    if empty:
        raise Problem(f"{place}: nothing behind `{empty[0]}`")
    return keys


def check_unrun(block):
    """What can be known of a block that is not run: its syntax, and that the files in it exist."""
    syntax = subprocess.run(["bash", "-n"], input=block.body, text=True, capture_output=True)
    if syntax.returncode:
        raise Problem(f"{block.place}: {syntax.stderr.strip()}")
    for path in re.findall(rf"(?<![\w/.-]){FOLDERS}", block.body):
        if not (ROOT / path.rstrip(".")).exists():
            raise Problem(f"{block.place}: no such file: {path}")


def matches(expected, printed):
    """Whether a text is the expected one, where `…` stands for anything in a line, or for any lines."""
    lines = []
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r" *\n")
    return re.fullmatch("".join(lines), printed.rstrip("\n") + "\n") is not None


def copy_project(to):
    """What is in the repository or is about to be, and the released binary where cargo puts it."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    binary = to / "target/release/lethewire"
    binary.parent.mkdir(parents=True)
    shutil.copy2(os.environ["LETHEWIRE_BIN"], binary)


def run(document):
    """Runs one document; returns how many blocks ran, and how many were checked in another way."""
    blocks = blocks_of(document, (ROOT / document).read_text())
    unrun = [block for block in blocks if "not run" in block.keys]
    if len(unrun) == len(blocks):
        raise Problem(f"{document}: no block that is run")
    for block in unrun:
        check_unrun(block)
    with tempfile.TemporaryDirectory(prefix="lethewire-docs-") as folder:
        work = pathlib.Path(folder)
        for name in ("project", "out"):
            (work / name).mkdir()
        copy_project(work / "project")
        parts = [block.script(number) for number, block in enumerate(blocks)]
        install = "install target/release/lethewire /usr/local/bin/lethewire"
        end = "stop_all\ntouch /out/passed\n"
        (work / "out/script").write_text("\n".join([PROLOGUE, install, *parts, end]))
        # Whatever ends this program ends the machine too.
        command = ["setpriv", "--pdeathsig", "KILL", MACHINE, work]
        environment = {**os.environ, "MACHINE_SECONDS": str(SECONDS_MAX)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode == TIMED_OUT:
            raise Problem(f"{document}: not done after {SECONDS_MAX} s")
        judge(document, blocks, work / "out", done)
    return len(blocks) - len(unrun), len(unrun)


def judge(document, blocks, out, done):
    """Compares what the blocks printed with what the document says."""
    log = (out / "log").read_text(errors="replace") if (out / "log").exists() else done.stderr
    for number, block in enumerate(blocks):
        file = out / str(number)
        printed = file.read_text(errors="replace") if file.exists() else ""
        if not (out / f"{number}.passed").exists():
            raise Problem(f"{block.place}: failed, having printed\n{printed}{log}")
        if block.expected is not None and not matches(block.expected, printed):
            raise Problem(f"{block.place}: printed\n{printed}\ninstead of\n{block.expected}")
    if not (out / "passed").exists():
        raise Problem(f"{document}: what stayed in the background did not end well\n{log}")


def check_completeness():
    """A document with commands is run here, or it is said who does."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    for name in listed:
        if name in DOCUMENTS or not (ROOT / name).is_file():
            continue
        for block in blocks_of(name, (ROOT / name).read_text()):
            if name not in ELSEWHERE:
                raise Problem(f"{block.place}: nobody runs this: add the document to tests/docs/run.py")
            check_unrun(block)


def main():
    if os.geteuid():
        sys.exit("error: the documents are run in namespaces of their own, which only root can make")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    problems = []
    try:
        check_completeness()
    except Problem as problem:
        problems.append(str(problem))
    for document in sys.argv[1:] or DOCUMENTS:
        try:
            ran, unrun = run(document)
            print(f"{document}: {ran} blocks run, {unrun} checked in another way", flush=True)
        except Problem as problem:
            problems.append(str(problem))
    if problems:
        sys.exit("\n\n".join(problems))


if __name__ == "__main__":
    main()
