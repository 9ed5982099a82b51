"""Compares a report of Autobahn's fuzzing client with what is expected.

usage: check.py index.json expected.json

Every case must be OK, NON-STRICT or INFORMATIONAL, and so must its way of closing. Which cases are
not plainly OK is committed, so that a change of the frame reader cannot add one unseen. The four of
6.4 are ours by choice: text is checked as a whole and not byte by byte while it comes in.
"""

import json
import sys

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def in_order(case):
    return [int(part) for part in case.split(".")]


def outcome(report):
    """The number of cases, and those that are not plainly OK, by what they are."""
    cases = report["lethewire"]
    groups = {}
    for case in sorted(cases, key=in_order):
        for key in ("behavior", "behaviorClose"):
            if cases[case][key] != "OK":
                group = groups.setdefault(cases[case][key], [])
                group.append(case if key == "behavior" else case + " (close)")
    return {"cases": len(cases), "not_plainly_ok": groups}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        found = outcome(json.load(file))
    with open(sys.argv[2], encoding="utf-8") as file:
        expected = json.load(file)
    bad = {kind: cases for kind, cases in found["not_plainly_ok"].items() if kind not in GOOD}
    if bad:
        sys.exit("failed cases: " + json.dumps(bad))
    if found != expected:
        sys.exit("found:    %s\nexpected: %s" % (json.dumps(found), json.dumps(expected)))
    listed = ", ".join("%d %s" % (len(v), k) for k, v in found["not_plainly_ok"].items())
    print("autobahn: %d cases, all good; of them %s" % (found["cases"], listed or "none lenient"))


main()
