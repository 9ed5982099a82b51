"""deploy/observability/ and RUNBOOK.md: rules, routes, dashboard and runbook are what they should be,
and a real Prometheus that scrapes loaded relays finds every metric that they name.

usage: check.py [texts|tools|alertmanager|prometheus …]

It needs prometheus, promtool, amtool, prometheus-alertmanager and redis-server in PATH, and the packages
`websockets` and `PyYAML`. Everything listens on loopback, on free ports, in a temporary folder.
"""

import pathlib
import sys
import tempfile

import kit
import live
from kit import ALERTMANAGER, PROMETHEUS
from programs import run

# Who hears of what, by severity.
ROUTES = {"critical": "everybody", "warning": "mail-and-slack", "info": "slack", "unknown": "mail"}


def texts(_):
    for check in kit.CHECKS:
        check()
    return "%d alerts, each with its cases and its entry" % len(kit.alerts())


def tools(_):
    """What Prometheus' and Alertmanager's own programs say."""
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    cases = sorted((PROMETHEUS / "tests").glob("*.yml"))
    run("promtool", "test", "rules", *cases)
    run("amtool", "check-config", ALERTMANAGER)
    for severity, receiver in ROUTES.items():
        test = ["amtool", "config", "routes", "test", "--config.file=%s" % ALERTMANAGER]
        run(*test, "--verify.receivers=" + receiver, "severity=" + severity)
    return "%d files of cases, %d routes" % (len(cases), len(ROUTES))


PARTS = {
    "texts": texts,
    "tools": tools,
    "alertmanager": live.against_alertmanager,
    "prometheus": live.against_prometheus,
}


def main():
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            outcome = PARTS[name](pathlib.Path(folder))
        print("observability: %s: %s" % (name, outcome or "ok"), flush=True)


if __name__ == "__main__":
    main()
