"""Linters over everything that is deployed, and the names of variables in all of it."""

import pathlib
import re
import subprocess
import sys

import yaml

from manifests import OVERLAYS, ROOT
from rules import every, pod

BIN = pathlib.Path(sys.executable).parent


def committed(*patterns):
    """Files that git knows, or would know."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "--", *patterns],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for path in listed.splitlines() if (ROOT / path).is_file()]


def run(program, *arguments):
    """A linter of this virtual environment; whatever it finds is an error."""
    if subprocess.run([str(BIN / program), *arguments], cwd=ROOT).returncode:
        raise SystemExit(f"{program} is not content")


def check_shell():
    scripts = set(committed("*.sh", ".ci/*"))
    # Programs of other folders that have no ending.
    for path in committed("deploy", "bench", "tests"):
        with open(ROOT / path, "rb") as file:
            if re.match(rb"#!.*\b(ba|da)?sh\b", file.readline(100)):
                scripts.add(path)
    # -x: what is sourced is read as well. SC2329 takes what traps call for what nobody calls.
    run("shellcheck", "-x", "--exclude=SC2329", *sorted(scripts))
    return len(scripts)


def check_yaml():
    files = committed("*.yml", "*.yaml")
    run("yamllint", "--strict", "-c", "tests/deploy/yamllint.yaml", *files)
    return len(files)


def check_containers():
    """The image and the compose file, where there are any."""
    for path in committed("Dockerfile", "*/Dockerfile", "*.Dockerfile"):
        run("hadolint", "--failure-threshold", "info", path)
    files = committed("docker-compose*.yml", "deploy/compose/*compose*.yml")
    for path in files:
        run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def variables():
    """Every variable that the relay knows."""
    text = (ROOT / ".env.production").read_text()
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", text, re.MULTILINE))


def of_manifests():
    """Variables that are given to relays in the cluster: (where, name)."""
    for overlay in OVERLAYS:
        for config in every("ConfigMap", overlay):
            yield from ((overlay, name) for name in config["data"])
        for deployment in every("Deployment", overlay):
            for container in pod(deployment)["containers"]:
                if container["name"] == "relay":
                    yield from ((overlay, entry["name"]) for entry in container.get("env", []))


def of_compose():
    """And by the compose file, whose other services have variables of their own."""
    for path in committed("docker-compose.yml"):
        for name, service in yaml.safe_load((ROOT / path).read_text())["services"].items():
            if "relay" in name or "lethewire" in str(service.get("image", "")):
                environment = service.get("environment", {})
                if isinstance(environment, list):
                    environment = [entry.partition("=")[0] for entry in environment]
                yield from ((f"{path}: {name}", variable) for variable in environment)


def of_units():
    """And by the systemd units."""
    for path in committed("deploy/systemd/*"):
        text = (ROOT / path).read_text()
        for assignments in re.findall(r"^#?Environment=(.*)$", text, re.MULTILINE):
            yield from ((path, name) for name in re.findall(r"([A-Z][A-Z0-9_]*)=", assignments))


def check_variables():
    """No manifest sets a variable that the relay does not know, and would ignore."""
    known, seen = variables(), 0
    for where, name in [*of_manifests(), *of_compose(), *of_units()]:
        seen += 1
        if name not in known:
            raise SystemExit(f"{where}: {name} is no variable of .env.production")
    return seen
