"""Backend mode, against the released relay.

usage: check.py [minting …]

It needs node and openssl in PATH, and BACKEND_MINT (the example in Rust, built). Everything listens on loopback, on free ports, in a temporary folder.
"""

import sys

import minting

PARTS = {"minting": minting.check}


def main():
    for name in sys.argv[1:] or PARTS:
        print("backend: %s: %s" % (name, PARTS[name]()), flush=True)


if __name__ == "__main__":
    main()
