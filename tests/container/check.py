"""Builds the image, looks into it, and runs docker-compose.yml with it: runs inside of engine.sh.

Images that would be downloaded are made of what this machine has (bases.sh), everything else is what
is shipped. Members talk over TLS through Caddy, on both relays, from Python and from Chromium.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import image
import stack

ROOT = pathlib.Path(__file__).resolve().parents[2]


def bases():
    """Names of the images to build from and to run instead of published ones."""
    made = subprocess.run(
        [ROOT / "tests/container/bases.sh"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(line.split("=", 1) for line in made.stdout.splitlines())


def main():
    os.chdir(ROOT)
    # So that a failure and what led to it stand in their order.
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.update(bases())
    image.check_all()
    with tempfile.TemporaryDirectory() as folder:
        stack.check_all(pathlib.Path(folder))


if __name__ == "__main__":
    main()
