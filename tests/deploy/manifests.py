"""deploy/kubernetes: what kustomize makes of each overlay, and whether clusters take it.

What it makes is committed in deploy/kubernetes/rendered/, with a digest of what it was made from, so
that a review shows what changes in the cluster, and so that a machine without kubectl can tell whether
it is what belongs to the sources.
"""

import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
RENDERED = KUBERNETES / "rendered"
OVERLAYS = ("dev", "production", "redis-cluster")
# The oldest with everything that is used (preStop.sleep), and the newest that the schemas know.
VERSIONS = ("1.30", "1.37")
# The oldest kustomize whose output is the same as today's.
KUSTOMIZE_MIN = (5, 0)


def kustomize():
    """The command that renders, or None where there is none that is new enough."""
    if program := shutil.which("kustomize"):
        said = subprocess.run([program, "version"], capture_output=True, text=True).stdout
        command = [program, "build"]
    elif program := shutil.which("kubectl"):
        said = subprocess.run(
            [program, "version", "--client"], capture_output=True, text=True
        ).stdout
        said = said.partition("Kustomize Version:")[2]
        command = [program, "kustomize"]
    else:
        return None
    version = re.search(r"v(\d+)\.(\d+)", said)
    if version is None or tuple(map(int, version.groups())) < KUSTOMIZE_MIN:
        return None
    return command


def digest(overlay):
    """What the rendered overlay depends on: every file that kustomize can read for it."""
    sources = [KUBERNETES / "base", KUBERNETES / "components", KUBERNETES / "overlays" / overlay]
    total = hashlib.sha256()
    for path in sorted(path for source in sources for path in source.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{content} {path.relative_to(KUBERNETES)}\n".encode())
    return total


def sealed(overlay, body):
    """The committed form of what was rendered: a head that belongs to these sources and this body."""
    total = digest(overlay)
    total.update(body.encode())
    return (
        f"# Made by kustomize from overlays/{overlay}: to be read and compared, not to be edited.\n"
        "# Anew with: tests/deploy/check.py --render\n"
        f"# sources and content: sha256 {total.hexdigest()}\n" + body
    )


def render(command, overlay):
    """What kustomize makes of an overlay. Its warnings are errors."""
    made = subprocess.run(
        [*command, str(KUBERNETES / "overlays" / overlay)], capture_output=True, text=True
    )
    if made.returncode or made.stderr:
        raise SystemExit(f"{overlay}: kustomize:\n{made.stderr}")
    return made.stdout


# Where the alerts are, and where the cluster has them.
RULES = ROOT / "deploy/observability/prometheus/rules"
RULE_RESOURCE = KUBERNETES / "components/monitoring/prometheus-rule.yaml"


def rule_resource():
    """The alerts as the Prometheus operator takes them."""
    groups = []
    for path in sorted(RULES.glob("*.yml")):
        groups += yaml.safe_load(path.read_text())["groups"]
    labels = {"app.kubernetes.io/name": "lethewire", "app.kubernetes.io/part-of": "lethewire"}
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "lethewire", "labels": labels},
        "spec": {"groups": groups},
    }
    return (
        "# yamllint disable-file\n"
        "# Made of deploy/observability/prometheus/rules/ by tests/deploy/check.py --render: change those.\n" + yaml.safe_dump(resource, sort_keys=False, width=100)
    )


def render_all():
    """Writes deploy/kubernetes/rendered/ anew, and what it takes."""
    RULE_RESOURCE.write_text(rule_resource())
    command = kustomize()
    if command is None:
        raise SystemExit("rendering needs kubectl 1.27 or kustomize 5, or later")
    RENDERED.mkdir(exist_ok=True)
    for overlay in OVERLAYS:
        (RENDERED / f"{overlay}.yaml").write_text(sealed(overlay, render(command, overlay)))


def check_rendered():
    """That the committed files are what the sources make, and are valid. Returns how it is known."""
    if RULE_RESOURCE.read_text() != rule_resource():
        raise SystemExit(f"{RULE_RESOURCE.name} is not of these rules: check.py --render")
    command = kustomize()
    for overlay in OVERLAYS:
        committed = (RENDERED / f"{overlay}.yaml").read_text()
        body = "".join(committed.splitlines(keepends=True)[3:])
        if command is not None:
            body = render(command, overlay)
        if committed != sealed(overlay, body):
            raise SystemExit(f"rendered/{overlay}.yaml is not of these sources: check.py --render")
    return "rendered anew" if command else "by their digests: no kustomize here"


def resources(overlay):
    """Every resource of an overlay."""
    text = (RENDERED / f"{overlay}.yaml").read_text()
    return [resource for resource in yaml.safe_load_all(text) if resource]


def is_custom(resource):
    """Whether its schema is not among those of Kubernetes itself."""
    group = resource["apiVersion"].rpartition("/")[0]
    return group.startswith("monitoring.") or group.startswith("gateway.networking.")


def check_schemas():
    """Strictly: no field that the schemas do not know."""
    import kubernetes_validate

    custom = []
    for overlay in OVERLAYS:
        for resource in resources(overlay):
            name = f"{overlay}: {resource['kind']} {resource['metadata']['name']}"
            if is_custom(resource):
                custom.append({"from": name, "resource": resource})
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(resource, version, strict=True)
                except Exception as error:
                    raise SystemExit(f"{name}, Kubernetes {version}: {error}") from None
    check = subprocess.run(
        ["node", str(ROOT / "tests/deploy/crds/check.mjs")],
        input=json.dumps(custom),
        text=True,
        stderr=sys.stderr,
    )
    if check.returncode:
        raise SystemExit("a custom resource is not as its schema says")
    return len(custom)
