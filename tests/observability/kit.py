"""What is written in deploy/observability/ and RUNBOOK.md, and whether the two agree with each other.

Reads files only; what a real Prometheus makes of them is in live.py.
"""

import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KIT = ROOT / "deploy/observability"
PROMETHEUS = KIT / "prometheus"
ALERTMANAGER = KIT / "alertmanager/alertmanager.yml"
RUNBOOK = ROOT / "RUNBOOK.md"

# Names of what relays and the probe export. Names with a colon are made by recording rules.
METRIC = re.compile(r"(?<![\w:])(?:lethewire|process)_[a-z0-9_]+(?![\w:])")
SELECTOR = re.compile(r"(?<![\w:])((?:lethewire|process)_[a-z0-9_]+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
RECORDED = re.compile(r"instance:[a-z0-9_]+:[a-z0-9_]+")

# What an entry of the runbook consists of.
PARTS = ("**Means**", "**Causes**", "**Do**", "**Wake**")


def load(path):
    return yaml.safe_load(path.read_text())


def rules():
    """Every rule of both files."""
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    return [rule for file in files for group in load(file)["groups"] for rule in group["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard():
    """The dashboard's panels, rows left out, and all its expressions as (place, expression)."""
    board = json.loads((KIT / "grafana/dashboards/lethewire.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    found = [
        ("panel %r" % panel["title"], target["expr"]) for panel in panels for target in panel["targets"]
    ]
    found += [("annotation %r" % one["name"], one["expr"]) for one in board["annotations"]["list"]]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])
            found.append(("variable %r" % variable["name"], inner.group(1)))
    return panels, [(place, expr.replace("$instance", ".+")) for place, expr in found]


def check_alerts():
    """Every alert says how bad it is, what it is and where to read on."""
    for name, rule in alerts().items():
        expect(rule["labels"].get("severity") in ("critical", "warning", "info"), name, "a severity")
        expect(rule.get("for"), name, "a `for`")
        notes = rule["annotations"]
        for note in ("summary", "description", "runbook_url"):
            expect(notes.get(note), name, "the annotation " + note)
        anchor = "/RUNBOOK.md#" + name.lower()
        expect(notes["runbook_url"].endswith(anchor), name, "a runbook_url that ends in " + anchor)


def check_windows():
    """A blurred relay publishes once a minute: shorter windows than five would see nothing."""
    places = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    for place, expr in places + dashboard()[1]:
        for window in re.findall(r"\[(\w+)\]", expr):
            number, unit = re.fullmatch(r"(\d+)([smhd])", window).groups()
            seconds = int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
            live = "process_start_time_seconds" in expr
            expect(seconds >= 300 or live, place, "a window of five minutes, not " + window)


def check_recorded():
    """What is read under a recorded name is recorded."""
    made = {rule["record"] for rule in rules() if "record" in rule}
    read = [(rule.get("alert", "a rule"), rule["expr"]) for rule in rules()] + dashboard()[1]
    for place, expr in read:
        for name in RECORDED.findall(expr):
            expect(name in made, place, "a rule that records " + name)
    unused = made - {name for _, expr in read for name in RECORDED.findall(expr)}
    expect(not unused, "recording.yml", "somebody who reads " + ", ".join(sorted(unused)))


def check_cases():
    """Every alert has a case in which it fires, and one in which a relay beside it does not."""
    fires, quiet = set(), set()
    for file in sorted((PROMETHEUS / "tests").glob("*.yml")):
        for case in load(file)["tests"]:
            name = case["name"]
            expect(name in alerts(), file.name, "an alert %s, as its case is called" % name)
            expected = [s["labels"] for test in case["promql_expr_test"] for s in test["exp_samples"]]
            for labels in expected:
                fires.add(re.search(r'alertname="(\w+)"', labels).group(1))
            instances = {
                found
                for one in case["input_series"]
                for found in re.findall(r'instance="(\w+)"', one["series"])
            }
            firing = set(re.findall(r'instance="(\w+)"', " ".join(expected)))
            if not expected or (firing and instances - firing):
                quiet.add(name)
    for name in alerts():
        expect(name in fires, name, "a case that fires")
        expect(name in quiet, name, "a case that does not fire")


def check_dashboard():
    """Every panel can be read: a title, what it means, a unit; and no two are in one place."""
    panels, _ = dashboard()
    taken = {}
    for panel in panels:
        title = panel["title"]
        expect(panel.get("description"), title, "a description")
        expect(panel["fieldConfig"]["defaults"].get("unit"), title, "a unit")
        expect(panel["datasource"]["uid"] == "${datasource}", title, "the datasource that is chosen")
        place = panel["gridPos"]
        expect(place["x"] + place["w"] <= 24, title, "a place within 24 columns")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), title)
                expect(other == title, title, "a place that %r does not have" % other)
    expect(len({panel["id"] for panel in panels}) == len(panels), "dashboard", "ids of its own per panel")


def check_runbook():
    """Every alert has its entry, every entry its alert; settings that it names exist."""
    text = RUNBOOK.read_text()
    entries = re.findall(r"^#+ (Lethewire[A-Z]\w+)\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    names = [name for name, _ in entries]
    expect(len(set(names)) == len(names), "RUNBOOK.md", "one entry per alert")
    for name in alerts():
        expect(name in names, "RUNBOOK.md", "an entry for " + name)
    for name, body in entries:
        expect(name in alerts(), "RUNBOOK.md", "an alert for its entry " + name)
        for part in PARTS:
            expect(part in body, name, "in RUNBOOK.md, the part " + part)
    known = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.production").read_text(), re.MULTILINE))
    for setting in set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", text)):
        expect(setting in known, "RUNBOOK.md", "a setting %s in .env.production" % setting)


def check_yaml():
    """What has no checker of its own here is at least what it says, and keeps lines for 31 days."""
    loki = load(KIT / "loki/loki.yml")
    expect(loki["limits_config"]["retention_period"] == "%dh" % (31 * 24), "loki.yml", "31 days")
    expect(loki["compactor"]["retention_enabled"] is True, "loki.yml", "retention that is on")
    (sources,) = (KIT / "grafana/provisioning/datasources").glob("*.yml")
    uids = {source["uid"] for source in load(sources)["datasources"]}
    board = json.loads((KIT / "grafana/dashboards/lethewire.json").read_text())
    chosen = {one["current"]["value"] for one in board["templating"]["list"] if one["type"] == "datasource"}
    expect(chosen <= uids, "dashboard", "a datasource that is provisioned")


def expect(truth, place, what):
    if not truth:
        raise SystemExit("observability: %s: expected %s" % (place, what))


CHECKS = (
    check_alerts,
    check_windows,
    check_recorded,
    check_cases,
    check_dashboard,
    check_runbook,
    check_yaml,
)
