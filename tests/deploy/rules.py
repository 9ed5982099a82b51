"""What has to hold for the rendered manifests and no schema says: selectors that find something, ports
that exist, pods of the restricted profile, doors that are shut, times that add up."""

from manifests import OVERLAYS, resources

RELAY = "lethewire"
# Members, and the operations listener.
MEMBERS, OPERATIONS = 8080, 9090


def every(kind, overlay):
    return [resource for resource in resources(overlay) if resource["kind"] == kind]


def one(kind, overlay, name=RELAY):
    found = [r for r in every(kind, overlay) if r["metadata"]["name"] == name]
    assert len(found) == 1, f"{overlay}: {len(found)} of {kind} {name}"
    return found[0]


def pod(deployment):
    return deployment["spec"]["template"]["spec"]


def relay(overlay):
    """The relay's pod and its only container."""
    spec = pod(one("Deployment", overlay))
    (container,) = spec["containers"]
    return spec, container


def labels_of_pods(overlay):
    return [d["spec"]["template"]["metadata"]["labels"] for d in every("Deployment", overlay)]


def selects(selector, labels):
    assert set(selector) <= {"matchLabels"}, "an expression, which this check does not know"
    return all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())


def container_ports(overlay, selector):
    """Ports of the pods that a selector finds, by name and by number."""
    ports = {}
    for deployment in every("Deployment", overlay):
        if selects(selector, deployment["spec"]["template"]["metadata"]["labels"]):
            for container in pod(deployment)["containers"]:
                for port in container["ports"]:
                    ports[port["name"]] = ports[port["containerPort"]] = port["containerPort"]
    return ports


def everything_is_in_its_namespace(overlay):
    (namespace,) = every("Namespace", overlay)
    name = namespace["metadata"]["name"]
    for resource in resources(overlay):
        if resource is not namespace and resource["kind"] != "Namespace":
            assert resource["metadata"].get("namespace") == name, resource["metadata"]
    for mode in ("enforce", "audit", "warn"):
        label = f"pod-security.kubernetes.io/{mode}"
        assert namespace["metadata"]["labels"][label] == "restricted", label


def pods_are_of_the_restricted_profile(overlay):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, and a little more."""
    for deployment in every("Deployment", overlay):
        spec = pod(deployment)
        for host in ("hostNetwork", "hostPID", "hostIPC"):
            assert not spec.get(host), host
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for volume in spec.get("volumes", []):
            kinds = set(volume) - {"name"}
            assert kinds <= {"configMap", "emptyDir", "projected", "secret"}, kinds
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context.get("privileged")
            assert not any("hostPort" in port for port in container["ports"])
            assert "memory" in container["resources"]["limits"]
            assert not container["image"].endswith(":latest") and ":" in container["image"]


def selectors_find_pods_and_ports(overlay):
    labels = labels_of_pods(overlay)
    for kind in ("Service", "PodDisruptionBudget"):
        for resource in every(kind, overlay):
            selector = resource["spec"]["selector"]
            if kind == "Service":
                selector = {"matchLabels": selector}
                ports = container_ports(overlay, selector)
                for port in resource["spec"]["ports"]:
                    assert port["targetPort"] in ports, port
            assert any(selects(selector, found) for found in labels), resource["metadata"]
    for deployment in every("Deployment", overlay):
        template = deployment["spec"]["template"]
        assert selects(deployment["spec"]["selector"], template["metadata"]["labels"])
        for spread in template["spec"].get("topologySpreadConstraints", []):
            assert selects(spread["labelSelector"], template["metadata"]["labels"])
    for monitor in every("ServiceMonitor", overlay):
        chosen = [
            service
            for service in every("Service", overlay)
            if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        ]
        assert len(chosen) == 1, "scraped once"
        names = {port["name"] for port in chosen[0]["spec"]["ports"]}
        assert all(endpoint["port"] in names for endpoint in monitor["spec"]["endpoints"])
        # Also those that drain or are cut off: then most of all.
        assert chosen[0]["spec"]["publishNotReadyAddresses"] is True


def alerts_find_what_is_scraped(overlay):
    """The rules name a job; the operator takes its name from a label of the Service."""
    for monitor in every("ServiceMonitor", overlay):
        label = monitor["spec"]["jobLabel"]
        jobs = {s["metadata"]["labels"].get(label) for s in every("Service", overlay)}
        asked = str(one("PrometheusRule", overlay)["spec"])
        assert RELAY in jobs and f'job="{RELAY}"' in asked, jobs


def doors(overlay):
    """Who may come to the relay, and whom it may go to: {port: [peers]}, twice."""
    inwards, outwards = {}, {}
    closed = False
    for policy in every("NetworkPolicy", overlay):
        spec = policy["spec"]
        closed |= spec["podSelector"] == {} and spec["policyTypes"] == ["Ingress", "Egress"]
        for rules, peers, found in (("ingress", "from", inwards), ("egress", "to", outwards)):
            for rule in spec.get(rules, []):
                assert rule[peers] and rule["ports"], f"{policy['metadata']['name']} allows anything"
                assert rules.capitalize() in spec["policyTypes"]
                if not selects(spec["podSelector"], {"app.kubernetes.io/name": RELAY}):
                    continue
                for port in rule["ports"]:
                    found.setdefault(port["port"], []).extend(rule[peers])
    assert closed, "nothing is denied by default"
    return inwards, outwards


def only_these_doors_are_open(overlay):
    inwards, outwards = doors(overlay)
    expected = {
        "dev": (set(), set()),
        "production": ({MEMBERS, OPERATIONS}, {53, 6379}),
        "redis-cluster": ({MEMBERS, OPERATIONS}, {53, 6379}),
    }[overlay]
    assert (set(inwards), set(outwards)) == expected, (inwards, outwards)
    for peers in [*inwards.values(), *outwards.values()]:
        # Never whole networks: they would be everybody behind a proxy's or a machine's address.
        assert not any("ipBlock" in peer for peer in peers)
        assert all(peer["podSelector"]["matchLabels"] for peer in peers), peers
    for peer in inwards.get(OPERATIONS, []):
        # Whoever gets here can drain.
        assert peer["namespaceSelector"]["matchLabels"], "pods of any namespace could take the name"


def probes_ask_what_they_should(overlay):
    _, container = relay(overlay)
    ports = container_ports(overlay, {"matchLabels": {"app.kubernetes.io/name": RELAY}})
    paths = {"startupProbe": "/live", "readinessProbe": "/ready", "livenessProbe": "/live"}
    for probe, path in paths.items():
        get = container[probe]["httpGet"]
        assert get["path"] == path and ports[get["port"]] == OPERATIONS, probe


def pods_are_counted_by_one_only(overlay):
    deployment = one("Deployment", overlay)
    if not every("HorizontalPodAutoscaler", overlay):
        assert deployment["spec"]["replicas"] == 1, "rooms are in the memory of one pod"
        return
    assert "replicas" not in deployment["spec"]
    scaler, budget = one("HorizontalPodAutoscaler", overlay), one("PodDisruptionBudget", overlay)
    assert scaler["spec"]["minReplicas"] > budget["spec"]["maxUnavailable"] >= 1
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", RELAY)
    update = deployment["spec"]["strategy"]["rollingUpdate"]
    assert update["maxUnavailable"] == 0, "a pod goes when another has come"


def secrets_are_files_that_somebody_makes(overlay):
    """None is in the manifests, and every path of one is in a volume."""
    assert not every("Secret", overlay)
    for config in every("ConfigMap", overlay):
        spec, container = relay(overlay)
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        for name, value in config["data"].items():
            if name.endswith("_FILE"):
                assert any(value.startswith(mount + "/") for mount in mounts), name
        assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
        assert spec["securityContext"]["fsGroup"], "a secret's files belong to root"


RULES = (
    everything_is_in_its_namespace,
    pods_are_of_the_restricted_profile,
    selectors_find_pods_and_ports,
    alerts_find_what_is_scraped,
    only_these_doors_are_open,
    probes_ask_what_they_should,
    pods_are_counted_by_one_only,
    secrets_are_files_that_somebody_makes,
)


def check_rules():
    for overlay in OVERLAYS:
        for rule in RULES:
            try:
                rule(overlay)
            except AssertionError as error:
                raise SystemExit(f"{overlay}: {rule.__name__}: {error or 'it does not hold'}") from error
    return len(RULES)
