"""The environment of the manifests, given to the released relay: it takes it, its times add up, and
pods with it serve, alone or through the Redis of the manifests."""

import contextlib
import pathlib
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request

from manifests import OVERLAYS, ROOT
from rules import RELAY, every, one, pod, relay

sys.path.insert(0, str(ROOT / "tests/clients"))

import python_client as client  # noqa: E402
from relay import BINARY, Relay  # noqa: E402

MEBI = 1024 * 1024
# Between the hint of a drain and the close (src/hub/session.rs), and the longest end of the bus
# (src/server.rs), in seconds.
DRAIN_GRACE, BUS_STOP_MAX = 1, 2
# What a kubelet may take for itself, in seconds.
SPARE = 3


class Files:
    """A folder with a file for each secret that an environment names, and Redis' users."""

    def __init__(self, folder, redis_port=0):
        self.folder, self.password = pathlib.Path(folder), secrets.token_hex(32)
        self.users = self.folder / "users.acl"
        users = (ROOT / "deploy/redis/users.acl").read_text()
        self.users.write_text(users.replace("PASSWORD", self.password))
        self.contents = {
            "JOIN_TOKEN_SECRET_FILE": secrets.token_hex(32),
            "CLUSTER_SECRET_FILE": secrets.token_hex(32),
            "REDIS_URL_FILE": f"redis://lethewire:{self.password}@127.0.0.1:{redis_port}",
        }

    def environment(self, data):
        """The variables of a ConfigMap, with their files in this folder."""
        variables = dict(data)
        for name in variables:
            if name.endswith("_FILE"):
                path = self.folder / name
                path.write_text(self.contents[name])
                variables[name] = str(path)
        return variables


def config_of(overlay):
    (config,) = every("ConfigMap", overlay)
    return config["data"]


def effective(overlay, files):
    """What the relay makes of an overlay's environment."""
    said = subprocess.run(
        [BINARY, "config"],
        env=files.environment(config_of(overlay)),
        capture_output=True,
        text=True,
        timeout=20,
    )
    if said.returncode:
        raise SystemExit(f"{overlay}: lethewire config:\n{said.stderr}")
    return tomllib.loads(said.stdout)


def quantity(text):
    """Bytes of a Kubernetes quantity, of those that are used here."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()
    return int(number) * MEBI * (1024 if unit == "Gi" else 1)


def drain_fits(config):
    """Everybody is told, closed and gone before the relay gives up waiting. In seconds."""
    server, limit = config["server"], config["limit"]
    hints = limit["connections"] / server["drain_rate_per_s"]
    return hints + DRAIN_GRACE + config["heartbeat"]["close_timeout_ms"] / 1000


def end_of_bus(config, servers):
    """The longest that saying goodbye to so many Redis servers takes, one after the other: what is
    under way, and the lease. In seconds."""
    return servers * 2 * config["bus"]["timeout_ms"] / 1000 + BUS_STOP_MAX


def check_sums(overlay, config):
    spec, container = relay(overlay)
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    servers = {"dev": 0, "production": 1, "redis-cluster": 3}[overlay]
    drain = config["server"]["shutdown_timeout_s"]
    needs = drain_fits(config)
    if needs > drain:
        raise SystemExit(f"{overlay}: a drain needs {needs} s, SHUTDOWN_TIMEOUT is {drain} s")
    notice = config["server"]["drain_notice_ms"] / 1000
    whole = pause + notice + drain + end_of_bus(config, servers) + SPARE
    grace = spec["terminationGracePeriodSeconds"]
    if whole > grace:
        raise SystemExit(f"{overlay}: ending takes up to {whole} s, and is killed after {grace} s")
    seconds = one("Deployment", overlay)["spec"]["minReadySeconds"]
    if seconds < config["bus"]["warm_up_s"]:
        raise SystemExit(f"{overlay}: the next pod goes before this one takes its full rate")
    memory = quantity(container["resources"]["limits"]["memory"])
    limit = config["limit"]
    if not limit["buffered_bytes"] * 2 < limit["memory_bytes"] <= memory * 0.8:
        raise SystemExit(f"{overlay}: MAX_MEMORY_BYTES does not fit the container's limit")
    return whole, grace


def check_silence(overlay, config):
    """Proxies wait longer for a silent member than the relay itself does."""
    heartbeat = config["heartbeat"]
    longest = heartbeat["ping_interval_ms"] / 1000 * 1.2 * (heartbeat["misses"] + 1)
    for ingress in every("Ingress", overlay):
        annotations = ingress["metadata"]["annotations"]
        for name in ("proxy-read-timeout", "proxy-send-timeout"):
            if int(annotations[f"nginx.ingress.kubernetes.io/{name}"]) <= longest:
                raise SystemExit(f"{overlay}: {name} is not above {longest} s")
    for route in every("HTTPRoute", overlay):
        paths = {
            match["path"]["value"]: rule["timeouts"]["request"]
            for rule in route["spec"]["rules"]
            for match in rule["matches"]
        }
        if paths.get("/v1/ws") != "0s":
            raise SystemExit(f"{overlay}: a WebSocket's request has a time-out")


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, ""


def check_probes(overlay, node):
    """Every probe of the manifest succeeds, at the latest when it has all that it waits for."""
    _, container = relay(overlay)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        deadline = time.monotonic() + 20
        while (code := status(node.operations + path)[0]) != 200:
            if time.monotonic() > deadline:
                raise SystemExit(f"{overlay}: {probe} gets {code}")


def check_metrics(overlay, node):
    """What the autoscaler asks for is there."""
    _, text = status(node.operations + "/metrics")
    for scaler in every("HorizontalPodAutoscaler", overlay):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods":
                name = metric["pods"]["metric"]["name"]
                if not re.search(rf"^{re.escape(name)} \d+$", text, re.MULTILINE):
                    raise SystemExit(f"{overlay}: no metric {name}")


@contextlib.contextmanager
def redis_of(overlay, port, files):
    """The Redis of an overlay, as its manifest starts it, on a port of this machine."""
    (container,) = pod(one("Deployment", overlay, "redis"))["containers"]
    arguments = list(container["args"])
    arguments[arguments.index("--port") + 1] = str(port)
    arguments[arguments.index("--aclfile") + 1] = str(files.users)
    command = [*container["command"], *arguments, "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=files.folder)
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "Ready to accept connections" in line:
                break
        else:
            raise SystemExit(f"{overlay}: redis-server did not start:\n{said}")
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# What differs on a machine without a cluster around it: free ports, and nobody in front.
HERE = {"HOST": "127.0.0.1", "PORT": "0", "OPS_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}
NOBODY_IN_FRONT = {"PUBLIC_URL": "", "TRUST_PROXY": "0"}


def check_dev():
    with tempfile.TemporaryDirectory() as folder:
        variables = {**Files(folder).environment(config_of("dev")), **HERE}
        with Relay(**variables) as node:
            check_probes("dev", node)


def check_production():
    """Two pods, one Redis: who joins at one hears who joins at the other."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        files = Files(folder, port)
        variables = {**files.environment(config_of("production")), **HERE, **NOBODY_IN_FRONT}
        with redis_of("production", port, files), Relay(**variables) as one_pod:
            with Relay(**variables) as other_pod:
                for node in (one_pod, other_pod):
                    check_probes("production", node)
                    check_metrics("production", node)
                keys = client.Keys()
                url, token = client.make_room(one_pod.members, keys)
                alice = client.Member(url, token)
                token = client.get_token(other_pod.members, keys)
                bob = client.Member(other_pod.members.replace("http", "ws") + "/v1/ws", token)
                client.talk(alice, bob, client.meet(alice, bob))
                bob.command(type="leave")
                bob.is_closed_with(1000, "left")
                client.check(alice.control("leave")["why"], "left")
                client.rule(other_pod.members, keys, alice)


def check_running():
    with tempfile.TemporaryDirectory() as folder:
        for overlay in OVERLAYS:
            config = effective(overlay, Files(folder))
            whole, grace = check_sums(overlay, config)
            check_silence(overlay, config)
            print(f"  {overlay}: ends within {whole:.0f} s of {grace} s")
    check_dev()
    check_production()
    return len(OVERLAYS)
