"""Backend mode and the descriptions of the interfaces, against the released relay.

usage: check.py [minting|openapi|asyncapi …]

It needs node and openssl in PATH, BACKEND_MINT (the example in Rust, built) and ASYNCAPI_SCHEMA (the JSON
schema of AsyncAPI 3.0). Everything listens on loopback, on free ports, in a temporary folder.
"""

import sys

import asyncapi
import minting
import openapi

PARTS = {"minting": minting.check, "openapi": openapi.check, "asyncapi": asyncapi.check}


def main():
    for name in sys.argv[1:] or PARTS:
        print("backend: %s: %s" % (name, PARTS[name]()), flush=True)


if __name__ == "__main__":
    main()
