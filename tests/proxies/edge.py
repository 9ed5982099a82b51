"""Starts the proxies of docs/proxies/, from the very files that are there, on free ports of loopback.

Each `Edge` terminates TLS with a certificate made for this run and leads to one relay. What a proxy
writes, to its output or to a file, is kept, so that it can be searched.
"""

import os
import pathlib
import random
import socket
import ssl
import subprocess
import time

FILES = pathlib.Path(__file__).resolve().parents[2] / "docs/proxies"


def hold_a_port():
    """A socket with a free port, to be closed when a proxy takes it: proxies cannot say which one they
    took, and the relay has to know before. It is below those that the kernel hands out, so that
    nobody gets it by chance in between."""
    while True:
        try:
            return socket.create_server(("", random.randrange(10_000, 32_000)))
        except OSError:
            continue


def make_certificate(folder):
    """A certificate for localhost that signs itself, its key, and both in one file."""
    certificate, key, both = (folder / name for name in ("cert.pem", "key.pem", "both.pem"))
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([*make.split(), *names, *files], check=True, capture_output=True)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate, key, both


class Edge:
    """A running proxy; `with Edge(…) as edge:` ends it."""

    # What the relay behind it has to be told.
    relay = {"TRUST_PROXY": "1", "TRUST_PROXY_FROM": "127.0.0.1/32"}

    def __init__(self, folder, certificate):
        """`folder` is a new one of its own; `certificate` is what `make_certificate` returned."""
        self.folder, self.certificate = folder, certificate
        self.held = hold_a_port()
        self.port = self.held.getsockname()[1]
        self.url = "https://localhost:%d" % self.port
        self.process = None
        # Trusts this one certificate, and speaks HTTP/1.1 only.
        self.tls = ssl.create_default_context(cafile=str(certificate[0]))

    def variables(self, upstream):
        """What the proxy's environment needs."""
        del upstream
        return {}

    def start(self, relay):
        """Starts it in front of a relay; `relay` is the address of its public listener."""
        upstream = relay.removeprefix("http://")
        command = self.command(upstream)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        environment.update(self.variables(upstream))
        self.held.close()
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=output, stderr=output
            )
        self.wait_until_listening()

    def wait_until_listening(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("%s did not start:\n%s" % (self, self.written().decode()))

    def written(self):
        """Everything that it wrote anywhere, but for its certificate and its configuration."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return b"\n".join(path.read_bytes() for path in files if path.suffix != ".conf")

    def connect(self, source="127.0.0.1"):
        """A TLS connection to it from an address of loopback, for raw requests."""
        plain = socket.create_connection(("127.0.0.1", self.port), 10, source_address=(source, 0))
        return self.tls.wrap_socket(plain, server_hostname="localhost")

    def __str__(self):
        return type(self).__name__

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.held.close()
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                # Some wait for their connections to end.
                self.process.kill()
                self.process.wait(timeout=10)


class Nginx(Edge):
    """nginx has no variables: what its file marks to be changed is changed, and nothing else."""

    def command(self, upstream):
        certificate, key, _ = self.certificate
        text = (FILES / "nginx.conf").read_text()
        for line, own in (
            ("listen 443 ssl;", "listen 127.0.0.1:%d ssl;" % self.port),
            ("server_name relay.example.org;", "server_name localhost;"),
            ("/etc/ssl/relay.example.org.crt;", "%s;" % certificate),
            ("/etc/ssl/private/relay.example.org.key;", "%s;" % key),
            ("proxy_pass http://127.0.0.1:8080;", "proxy_pass http://%s;" % upstream),
        ):
            if text.count(line) != 1:
                raise SystemExit("docs/proxies/nginx.conf has not one line with %r" % line)
            text = text.replace(line, own)
        (self.folder / "lethewire.conf").write_text(text)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join("%s_temp_path %s/%s;\n" % (kind, self.folder, kind) for kind in kinds)
        main = "daemon off;\npid pid;\nevents {}\nhttp {\n%sinclude lethewire.conf;\n}\n" % paths
        (self.folder / "main.conf").write_text(main)
        return ["nginx", "-e", "stderr", "-p", self.folder, "-c", self.folder / "main.conf"]


class Haproxy(Edge):
    """HAProxy, reading HTTP."""

    file = "haproxy.cfg"

    def command(self, upstream):
        del upstream
        return ["haproxy", "-db", "-f", FILES / self.file]

    def variables(self, upstream):
        return {
            "LETHEWIRE_BIND": "127.0.0.1:%d" % self.port,
            "LETHEWIRE_PEM": str(self.certificate[2]),
            "LETHEWIRE_RELAY": upstream,
        }


class HaproxyProxyProtocol(Haproxy):
    """HAProxy, reading nothing but TLS."""

    relay = {"TRUST_PROXY": "proxy-protocol", "TRUST_PROXY_FROM": "127.0.0.1/32"}
    file = "haproxy-proxy-protocol.cfg"


class Caddy(Edge):
    """Caddy."""

    def command(self, upstream):
        del upstream
        return ["caddy", "run", "--adapter", "caddyfile", "--config", FILES / "Caddyfile"]

    def variables(self, upstream):
        return {
            "LETHEWIRE_SITE": self.url,
            "LETHEWIRE_TLS": "tls %s %s" % self.certificate[:2],
            "LETHEWIRE_RELAY": upstream,
        }


EDGES = (Nginx, Haproxy, HaproxyProxyProtocol, Caddy)
