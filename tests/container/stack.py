"""docker-compose.yml with the image that was built: members on both relays, through Caddy."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))

import python_client as client
import redis_user
from docker import check, docker, inspect, is_healthy, run

PROJECT = "lethewire-test"
SITE = "https://localhost"
# A page of somebody else, which browser.mjs makes up.
PAGE = "https://chat.example.org"
SERVICES = ("redis", "relay-1", "relay-2", "caddy")
# Of the profile `observability`; the others of it are checked by their schema only.
WATCHERS = ("probe", "prometheus", "alertmanager")


def compose(folder, *arguments, **options):
    files = ["--file=docker-compose.yml", "--file=%s" % (folder / "override.yml")]
    return run("docker-compose", "--project-name", PROJECT, *files, *arguments, **options)


def container(service):
    return "%s_%s_1" % (PROJECT, service)


def prepare(folder):
    """Secrets of this run, and what the kernel here cannot do."""
    secrets = folder / "secrets"
    run("deploy/compose/secrets.sh", str(secrets))
    made = {name.name: name.read_bytes() for name in secrets.iterdir() if name.is_file()}
    run("deploy/compose/secrets.sh", str(secrets))
    kept = {name.name: name.read_bytes() for name in secrets.iterdir() if name.is_file()}
    check(kept, made, "secrets that are there stay")
    redis_user.add_inspector(secrets / "redis_users")
    # As often as one looks, so that nobody waits.
    often = {"healthcheck": {"interval": "1s", "timeout": "3s", "retries": 90}}
    (folder / "override.yml").write_text(
        json.dumps({"services": {name: often for name in (*SERVICES, *WATCHERS)}})
    )
    os.environ.update(
        LETHEWIRE_IMAGE="lethewire-test/relay:check",
        LETHEWIRE_SECRETS=str(secrets),
        CORS_ALLOWED_ORIGINS=PAGE,
    )
    if docker("info", "--format={{.CPUCfsQuota}}")[1].strip() != "true":
        print("container: this kernel cannot limit CPU time, so that is left out")
        os.environ.update(LETHEWIRE_CPUS="0", REDIS_CPUS="0", CADDY_CPUS="0", PROBE_CPUS="0")


def trust_caddy(folder):
    """Caddy's own authority, from inside its container, for the clients here."""
    inside = "/data/caddy/pki/authorities/local/root.crt"
    docker("cp", "%s:%s" % (container("caddy"), inside), str(folder / "root.crt"))
    os.environ["SSL_CERT_FILE"] = str(folder / "root.crt")


def it_is_locked_in(_):
    for service in SERVICES:
        host = inspect(container(service))["HostConfig"]
        check(host["ReadonlyRootfs"], True, service)
        check(host["CapDrop"], ["ALL"], service)
        check("no-new-privileges:true" in host["SecurityOpt"], True, service)
        check((host["Memory"] > 0, host["PidsLimit"] > 0), (True, True), service)
        check(host["RestartPolicy"]["Name"], "unless-stopped", service)


def networks_are_apart(_):
    """Caddy cannot reach Redis nor the operations listeners; Redis reaches nobody outside."""
    of = {
        service: {
            name.removeprefix(PROJECT + "_")
            for name in inspect(container(service))["NetworkSettings"]["Networks"]
        }
        for service in SERVICES
    }
    relay = {"front", "back", "monitoring"}
    check(of, {"redis": {"back"}, "caddy": {"front"}, "relay-1": relay, "relay-2": relay})
    check(inspect(PROJECT + "_back")["Internal"], True)
    check(inspect(PROJECT + "_monitoring")["Internal"], True)
    for number in (1, 2):
        networks = inspect(container("relay-%d" % number))["NetworkSettings"]["Networks"]
        address = {name: network["IPAddress"] for name, network in networks.items()}
        with urllib.request.urlopen(operations(number) + "/ready", timeout=10) as answer:
            check(answer.status, 200)
        for name in ("front", "back"):
            try:
                url = "http://%s:9090/ready" % address["%s_%s" % (PROJECT, name)]
                urllib.request.urlopen(url, timeout=10)
            except urllib.error.URLError as error:
                check(type(error.reason), ConnectionRefusedError)
            else:
                raise SystemExit("the operations listener is in the network %s" % name)


def operations(number):
    return "http://172.30.240.%d:9090" % (130 + number)


def sockets(service):
    """How many members' connections a relay has, as its kernel counts them."""
    process = str(inspect(container(service))["State"]["Pid"])
    inside = ["nsenter", "--net", "--target", process]
    count = [*inside, "ss", "-Htn", "state", "established", "( sport = :8080 )"]
    return len(run(*count)[1].splitlines())


def members_of_both_relays_talk(_):
    keys = client.Keys()
    url, token = client.make_room(SITE, keys)
    check(url, "wss://localhost/v1/ws")
    alice = client.Member(url, token)
    bob = client.Member(url, client.get_token(SITE, keys))
    check([sockets("relay-1"), sockets("relay-2")], [1, 1], "connections of the relays")
    client.talk(alice, bob, client.meet(alice, bob))
    client.rule(SITE, keys, alice)


def a_client_goes_through_everything(_):
    client.run(SITE)


def a_browser_talks(_):
    print(run("node", "tests/container/browser.mjs", SITE, PAGE)[1], end="")


def operations_are_not_reached_from_outside(_):
    for path in ("/metrics", "/health", "/admin/config"):
        try:
            urllib.request.urlopen(SITE + path, timeout=10)
        except urllib.error.HTTPError as refusal:
            check(refusal.code, 404, path)
        else:
            raise SystemExit("%s is there" % path)


def the_user_of_redis_may_do_what_is_needed_and_nothing_else(folder):
    redis_user.check_rights(container("redis"), folder / "secrets")


def a_relay_drains_and_another_takes_over(folder):
    """The member of a relay that is stopped is told to come back, and does."""
    keys = client.Keys()
    url, token = client.make_room(SITE, keys)
    with contextlib.ExitStack() as open_sockets:
        members = [client.Member(url, token), client.Member(url, client.get_token(SITE, keys))]
        for member in members:
            open_sockets.enter_context(member.open)
        compose(folder, "stop", "--timeout=40", "relay-1")
        check(inspect(container("relay-1"))["State"]["ExitCode"], 0)
        caddy_knows_who_serves()
        client.run(SITE)
    compose(folder, "start", "relay-1")
    is_healthy(container("relay-1"))


def what_is_killed_comes_back(_):
    """Not by the engine's order, after which it would leave it dead."""
    for service in ("relay-2", "redis"):
        name = container(service)
        before = inspect(name)
        subprocess.run(["kill", "-KILL", str(before["State"]["Pid"])], check=True)
        wait_for_restart(name, before["RestartCount"])
        is_healthy(name)
        # The engine takes a while to notice that whoever depends on it was not, and is again.
        for number in (1, 2):
            is_ready(number)
    caddy_knows_who_serves()
    client.run(SITE)


def is_ready(number, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(operations(number) + "/ready", timeout=10):
                return
        except urllib.error.URLError as error:
            if time.monotonic() > deadline:
                raise SystemExit("relay-%d is not ready: %s" % (number, error))


def caddy_knows_who_serves():
    """Caddy keeps a GET until there is a relay that is ready; other requests only in later versions."""
    with urllib.request.urlopen(SITE + "/ready", timeout=20) as answer:
        check(answer.status, 200)


def wait_for_restart(name, before):
    events = ["--filter=container=%s" % name, "--filter=event=start", "--format={{.Status}}"]
    span = ["--since=10m", "--until=%d" % (time.time() + 60)]
    watch = subprocess.Popen(["docker", "events", *span, *events], stdout=subprocess.PIPE)
    try:
        while inspect(name)["RestartCount"] == before or not inspect(name)["State"]["Running"]:
            if not watch.stdout.readline():
                raise SystemExit("%s was not started again" % name)
    finally:
        watch.kill()
        watch.wait()


def the_probe_gets_through(folder):
    """The exporter of the profile, which believes Caddy's own authority."""
    # The others have something to see until they are asked for it.
    compose(folder, "up", "--detach", "--no-build", *WATCHERS)
    for service in WATCHERS:
        is_healthy(container(service))
        host = inspect(container(service))["HostConfig"]
        check((host["ReadonlyRootfs"], host["CapDrop"]), (True, ["ALL"]), service)
    url = dashboards("probe", 9091) + "/metrics"
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(url, timeout=20) as answer:
            figures = answer.read().decode()
        if "\nlethewire_probe_up 1\n" in figures:
            break
        if time.monotonic() > deadline:
            raise SystemExit("the probe does not get through:\n" + figures)


def dashboards(service, port):
    """Where a service is reached by who shows what it knows."""
    networks = inspect(container(service))["NetworkSettings"]["Networks"]
    return "http://%s:%d" % (networks[PROJECT + "_dashboards"]["IPAddress"], port)


def prometheus_sees_everybody(_):
    """Also those that were stopped and killed; its rules are computed, and Alertmanager is told."""
    everybody = {"relay-1", "relay-2", "probe", "localhost", "alertmanager"}
    deadline = time.monotonic() + 60
    while True:
        targets = ask_prometheus("targets")["activeTargets"]
        state = {target["labels"]["instance"].split(":")[0]: target["health"] for target in targets}
        if state == dict.fromkeys(everybody, "up"):
            break
        if time.monotonic() > deadline:
            raise SystemExit("Prometheus sees %s" % state)
    rules = [rule for group in ask_prometheus("rules")["groups"] for rule in group["rules"]]
    check({rule["health"] for rule in rules} - {"unknown"}, {"ok"}, "rules")
    told = [manager["url"] for manager in ask_prometheus("alertmanagers")["activeAlertmanagers"]]
    check(told, ["http://alertmanager:9093/api/v2/alerts"])


def ask_prometheus(what):
    url = dashboards("prometheus", 9090) + "/api/v1/" + what
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)["data"]


CHECKS = (
    it_is_locked_in,
    networks_are_apart,
    members_of_both_relays_talk,
    a_client_goes_through_everything,
    a_browser_talks,
    the_probe_gets_through,
    operations_are_not_reached_from_outside,
    a_relay_drains_and_another_takes_over,
    the_user_of_redis_may_do_what_is_needed_and_nothing_else,
    what_is_killed_comes_back,
    prometheus_sees_everybody,
)


def check_all(folder):
    prepare(folder)
    try:
        compose(folder, "up", "--detach", "--no-build", "relay-1", "relay-2", "redis", "caddy")
        for service in SERVICES:
            is_healthy(container(service))
        trust_caddy(folder)
        for test in CHECKS:
            test(folder)
            print("container: %s: ok" % test.__name__)
    except BaseException:
        print(compose(folder, "logs", "--tail=30", succeeds=False)[1])
        raise
    finally:
        compose(folder, "down", "--volumes", "--timeout=5")
