"""Starts the released relay on free ports, and stops it again.

`LETHEWIRE_BIN` names the binary; without it, that of `cargo build --release` is taken.
"""

import json
import os
import pathlib
import signal
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("LETHEWIRE_BIN") or str(ROOT / "target/release/lethewire")


class Relay:
    """A running relay; `with Relay() as relay:` ends it, and insists that it ends well."""

    def __init__(self, **variables):
        """`variables` are its environment, together with what makes its ports free ones."""
        ports = {"PORT": "0", "OPS_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}
        self.process = subprocess.Popen(
            [BINARY],
            env={"PATH": os.environ["PATH"], **ports, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # Everything that it ever said, in bytes.
        self.said = []
        # Told of every line.
        self.has_said = threading.Condition()
        self.members = self.operations = None
        self.is_listening = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.is_listening.wait(timeout=20) or self.members is None:
            self.process.kill()
            raise SystemExit("the relay did not start:\n" + b"".join(self.said).decode())

    def _read(self):
        """Keeps what the relay says, and finds its addresses in the first line that has them."""
        for line in self.process.stdout:
            with self.has_said:
                self.said.append(line)
                self.has_said.notify_all()
            if self.members is None and line.startswith(b"{"):
                entry = json.loads(line)
                if entry.get("message") == "listening":
                    self.members = "http://" + entry["members"]
                    self.operations = "http://" + entry["operations"]
                    self.is_listening.set()
        # At its end nobody needs to wait any longer.
        self.is_listening.set()

    def stop(self):
        """Asks the relay to drain and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=40)
        self.reader.join(timeout=10)
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        code = self.stop()
        if kind is None and code != 0:
            raise SystemExit("the relay ended with %d:\n%s" % (code, b"".join(self.said).decode()))
