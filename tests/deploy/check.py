#!/usr/bin/env python3
"""Everything in deploy/ as far as it can be checked without a cluster, and what can run, running.

usage: check.py [--render]

--render writes deploy/kubernetes/rendered/ anew, which needs kubectl or kustomize. Otherwise it needs
what requirements.txt and crds/package.json list, redis-server, systemd, dpkg-deb, rpmbuild,
objdump, openssl, root, and the released relay.
"""

import sys

import lint
import manifests
import packages
import rules
import running


def check(name, *checks):
    """Runs checks and says that they passed; what fails ends everything."""
    said = [check() for check in checks]
    results = ", ".join(str(result) for result in said if result is not None)
    print(f"{name}: ok ({results})" if results else f"{name}: ok", flush=True)


def main():
    if sys.argv[1:] == ["--render"]:
        manifests.render_all()
        return
    if sys.argv[1:]:
        raise SystemExit(__doc__)
    check("shell scripts, by shellcheck", lint.check_shell)
    check("YAML, by yamllint", lint.check_yaml)
    check("Dockerfile and compose file, by hadolint and the schema", lint.check_containers)
    check("manifests are what kustomize makes", manifests.check_rendered)
    check("variables are those of the relay", lint.check_variables)
    check("manifests, strictly by their schemas; custom ones", manifests.check_schemas)
    check("manifests, by rules of ours", rules.check_rules)
    check("systemd's score of the unit, and the time to stop", packages.check_score, packages.check_stop)
    check(".deb and .rpm, on a machine of their own", packages.check_packages)
    check("the released relay with the manifests' environment", running.check_running)


if __name__ == "__main__":
    main()
