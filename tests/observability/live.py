"""What a real Prometheus and a real Alertmanager make of deploy/observability/."""

import contextlib
import json
import re
import shutil
import urllib.parse

import kit
import load
from kit import MATCHER, METRIC, SELECTOR, expect
from programs import Program, fetch, run, until

LISTENS = r"Listening on.* address=(127\.0\.0\.1:\d+)"

# Expressions that are right to be empty here, and why.
MAY_BE_EMPTY = {
    # Everything is watched.
    "LethewireNotScraped",
    # The probe speaks to the relay without TLS.
    "LethewireCertificateExpiresSoon",
    "LethewireCertificateExpires",
    "panel 'Certificate'",
    # Nothing was restarted.
    "annotation 'Starts'",
    # Nothing fires; that a rule can is what its cases are for.
    "annotation 'Alerts'",
}


def prometheus(folder, relays, probe):
    """Prometheus with the real configuration: only targets are others, and time is faster."""
    copy = folder / "prometheus"
    shutil.copytree(kit.PROMETHEUS, copy)
    config = kit.load(copy / "prometheus.yml")
    config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
    config["scrape_configs"] = [job for job in config["scrape_configs"] if "file_sd_configs" in job]
    del config["alerting"]
    (copy / "prometheus.yml").write_text(json.dumps(config))
    hosts = [relay.operations.removeprefix("http://") for relay in relays]
    (copy / "targets/relays.yml").write_text(json.dumps([{"targets": hosts}]))
    (copy / "targets/probe.yml").write_text(json.dumps([{"targets": [probe.address]}]))
    arguments = ["prometheus", "--config.file=%s" % (copy / "prometheus.yml")]
    arguments += ["--storage.tsdb.path=%s" % (folder / "data"), "--web.listen-address=127.0.0.1:0"]
    return Program(arguments, LISTENS)


def ask(server, expr):
    """What Prometheus answers to an expression: its samples."""
    url = "http://%s/api/v1/query?%s" % (server.address, urllib.parse.urlencode({"query": expr}))
    answer = json.loads(fetch(url))
    expect(answer["status"] == "success", expr, "an expression: " + answer.get("error", ""))
    return answer["data"]["result"]


def unconditional(expr):
    """An alert's expression with its comparisons as figures, so that it has samples when all is well."""
    return re.sub(r"(?<=\s)(==|>|<)(?=\s)", r"\1 bool", expr)


def questions():
    """All expressions there are, as (place, expression)."""
    for rule in kit.rules():
        name = rule.get("alert") or rule["record"]
        yield name, unconditional(rule["expr"]) if "alert" in rule else rule["expr"]
    yield from kit.dashboard()[1]


def check_expressions(server):
    """Every expression has samples, of which at least one is a number, once each group of rules had its turn."""
    empty = [one for one in questions() if one[0] not in MAY_BE_EMPTY]

    def all_have():
        empty[:] = [(place, expr) for place, expr in empty if not has_samples(server, expr)]
        return not empty

    until(lambda: "samples of %s" % empty, all_have)


def has_samples(server, expr):
    """Whether an expression has a sample that is a number."""
    return any(one["value"][1] != "NaN" for one in ask(server, expr))


def exported(pages):
    """Names of samples, and for each the values of its labels."""
    names = {}
    for name, labels in re.findall(r"^([a-z_]\w*)(?:\{(.*)\})? \S+", "\n".join(pages), re.MULTILINE):
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            names.setdefault(name, {}).setdefault(label, set()).add(value)
        names.setdefault(name, {})
    return names


def check_names(pages):
    """Metrics, labels and values that rules, dashboard and runbook name are exported."""
    names = exported(pages)
    places = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in kit.rules()]
    places += kit.dashboard()[1]
    for place, expr in places:
        for metric in METRIC.findall(expr):
            expect(metric in names, place, "a metric that is exported, not " + metric)
        for metric, matchers in SELECTOR.findall(expr):
            for label, pattern in MATCHER.findall(matchers):
                if label in ("instance", "job"):
                    continue
                for value in pattern.split("|"):
                    there = names.get(metric, {}).get(label, set())
                    expect(value in there, place, '%s with %s="%s"' % (metric, label, value))
    for metric in set(re.findall(r"`(lethewire_[a-z0-9_]+)`", kit.RUNBOOK.read_text())):
        expect(metric in names, "RUNBOOK.md", "a metric that is exported, not " + metric)
    return len(names)


def classic(page):
    """OpenMetrics as Prometheus' older text form, which `promtool check metrics` reads: there, the name
    of a counter or an info has its ending also in HELP and TYPE."""
    ending = {"counter": "_total", "info": "_info"}
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))

    def head(line):
        word, name, rest = re.fullmatch(r"# (HELP|TYPE) (\S+) (.*)", line).groups()
        kind = kinds[name]
        rest = rest.replace("info", "gauge") if word == "TYPE" else rest
        return "# %s %s %s" % (word, name + ending.get(kind, ""), rest)

    lines = [line for line in page.splitlines() if not line.startswith(("# EOF", "# UNIT"))]
    return "\n".join(head(line) if line.startswith("#") else line for line in lines) + "\n"


def check_metrics(folder, page):
    """promtool has nothing to say about names, types and help."""
    file = folder / "metrics.txt"
    file.write_text(classic(page))
    run("sh", "-c", "promtool check metrics <'%s'" % file)


def against_prometheus(folder):
    """Everything that takes relays and a Prometheus."""
    with contextlib.ExitStack() as stack:
        path, redis = load.redis(folder)
        stack.enter_context(redis)
        relays = [stack.enter_context(relay) for relay in load.cluster(path)]
        talk = load.Talk(relays)
        stack.callback(talk.end)
        probe = stack.enter_context(load.probe(relays[0]))
        server = stack.enter_context(prometheus(folder, relays, probe))
        count = len(relays) + 1
        until("Prometheus", lambda: "Ready" in fetch("http://%s/-/ready" % server.address))
        until("targets", lambda: len(ask(server, "up == 1")) == count)
        # Behind the first scrape, or nothing would have increased.
        talk.incidents()
        for metric in ("websockets_closed", "refusals", "limit_hits"):
            seen = "sum(rate(lethewire_%s_total[5m])) > 0" % metric
            until(metric, lambda seen=seen: ask(server, seen))
        until("rules", lambda: len(ask(server, "instance:lethewire_copies_delivered:rate5m > 0")) == 2)
        until("the probe", lambda: ask(server, "lethewire_probe_up == 1"))
        pages = [fetch(relay.operations + "/metrics") for relay in relays]
        pages.append(fetch("http://%s/metrics" % probe.address))
        series = check_names(pages)
        for page in pages[1:]:
            check_metrics(folder, page)
        check_expressions(server)
        firing = [one["metric"]["alertname"] for one in ask(server, 'ALERTS{alertstate="firing"}')]
        expect(not firing, "relays that are well", "no alert, not " + ", ".join(firing))
        talk.quiet()
        unaccounted = "instance:lethewire_copies:unaccounted == 0"
        until("every copy to be accounted for", lambda: len(ask(server, unaccounted)) == 2)
    return "%d metrics, %d expressions" % (series, len(list(questions())))


def alertmanager(folder):
    """Alertmanager with the real routes and inhibitions, and nobody to send anything to."""
    copy = folder / "alertmanager.yml"
    text = kit.ALERTMANAGER.read_text()
    copy.write_text(re.sub(r"\b(\w+\.)?example\.org", "localhost", text))
    arguments = ["prometheus-alertmanager", "--config.file=%s" % copy]
    arguments += ["--storage.path=%s" % (folder / "alertmanager"), "--cluster.listen-address="]
    return Program([*arguments, "--web.listen-address=127.0.0.1:0"], LISTENS)


# What fires together, and which of it somebody hears of.
STORIES = (
    (("LethewireDown a", "LethewireNotReady a", "LethewireBusGaps a", "LethewireNotReady b"), (0, 3)),
    (("LethewireBusLost a", "LethewireNotReady a", "LethewireBusGaps a", "LethewireBusGaps b"), (0, 3)),
    (("LethewireEvictions a", "LethewireQueueNearBudget a", "LethewireConnectionsNearLimit a"), (0, 2)),
    (("LethewireCertificateExpires p", "LethewireCertificateExpiresSoon p"), (0,)),
)


def against_alertmanager(folder):
    """What follows from something else is inhibited, and nothing else is."""
    for told, heard in STORIES:
        with alertmanager(folder) as server:
            api = "http://%s/api/v2/alerts" % server.address
            until("Alertmanager", lambda: fetch(api + "?active=true").strip() == "[]")
            fetch(api, [label(one) for one in told])

            def active():
                found = json.loads(fetch(api + "?silenced=false&inhibited=false&unprocessed=false"))
                return {"%(alertname)s %(instance)s" % one["labels"] for one in found}

            wanted = {told[index] for index in heard}
            until("only %s of %s" % (wanted, told), lambda: active() == wanted, 15)
        shutil.rmtree(folder / "alertmanager", ignore_errors=True)


def label(one):
    """An alert as Prometheus sends it."""
    name, instance = one.split()
    severity = kit.alerts()[name]["labels"]["severity"]
    return {"labels": {"alertname": name, "instance": instance, "severity": severity}}
