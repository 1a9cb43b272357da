"""Who can connect to whom on Kubernetes, by the rules of infra/kubernetes."""

import pytest

from tests.infra.kubernetes import manifests

NAMESPACE = "kubernetes.io/metadata.name"
OURS = manifests.kustomization()["namespace"]
#: Pods, with the labels of their namespaces.
PODS = {
    **{
        name: (pod["metadata"]["labels"], {NAMESPACE: OURS})
        for name, pod in manifests.pods().items()
    },
    "operator": (
        {"app.kubernetes.io/name": "flink-kubernetes-operator"},
        {NAMESPACE: "flink-operator"},
    ),
    "neighbor": ({}, {NAMESPACE: OURS}),
    "stranger": (manifests.pods()["launcher"]["metadata"]["labels"], {NAMESPACE: "x"}),
}
PORTS = {
    "job-server": {8097: set(), 8098: {"launcher"}, 8099: {"launcher"}},
    "job-manager": {
        6123: {"task-manager"},
        6124: {"task-manager"},
        manifests.REST_PORT: {"job-server", "operator"},
    },
    "task-manager": {
        6121: {"task-manager"},
        6122: {"job-manager"},
        6125: {"job-manager"},
        50000: set(),
    },
    "launcher": {8080: set()},
}


def matches(selector, labels):
    assert set(selector) <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(peer, labels, namespace):
    """Whether a pod is one of those that a rule of these files lets in."""
    assert set(peer) <= {"podSelector", "namespaceSelector"}
    in_place = (
        matches(peer["namespaceSelector"], namespace)
        if "namespaceSelector" in peer
        else namespace[NAMESPACE] == OURS
    )
    return in_place and matches(peer["podSelector"], labels)


def is_let_in(source, target, port):
    policies = [
        each["spec"]
        for each in manifests.resources()
        if each["kind"] == "NetworkPolicy"
        and matches(each["spec"]["podSelector"], PODS[target][0])
    ]
    assert all(policy["policyTypes"] == ["Ingress"] for policy in policies)
    return not policies or any(
        any(is_peer(peer, *PODS[source]) for peer in rule["from"])
        and port in [each["port"] for each in rule["ports"]]
        for policy in policies
        for rule in policy.get("ingress", [])
    )


@pytest.mark.parametrize(
    ("target", "port"), [(name, port) for name in PORTS for port in PORTS[name]]
)
def test_a_port_is_open_to_those_who_need_it_and_nobody_else(target, port):
    others = set(PODS) - ({target} - PORTS[target][port])
    found = {source for source in others if is_let_in(source, target, port)}
    assert found == PORTS[target][port]


def test_the_ports_are_those_that_the_programs_listen_on():
    config = manifests.flink()["flinkConfiguration"]
    names = {
        "job-manager": ("jobmanager.rpc.port", "blob.server.port"),
        "task-manager": (
            *("taskmanager.data.port", "taskmanager.rpc.port"),
            "metrics.internal.query-service.port",
        ),
    }
    for target, options in names.items():
        assert {int(config[option]) for option in options} < set(PORTS[target])
    listening = {
        name: {
            port["containerPort"]
            for each in manifests.containers(pod)
            for port in each.get("ports", [])
        }
        for name, pod in manifests.pods().items()
    }
    for name, ports in listening.items():
        assert ports <= set(PORTS[name])


def test_every_rule_names_a_pod_that_is_there():
    known = [labels for labels, _ in PODS.values()]
    for resource in manifests.resources():
        if resource["kind"] == "NetworkPolicy":
            rules = resource["spec"].get("ingress", [])
            peers = [peer for rule in rules for peer in rule["from"]]
            for selector in [resource["spec"], *peers]:
                assert any(matches(selector["podSelector"], each) for each in known)


def test_nothing_is_reachable_from_outside_and_no_password_is_in_the_files():
    kinds = {resource["kind"] for resource in manifests.resources()}
    assert not kinds & {"Ingress", "Secret", "Gateway", "HTTPRoute"}
    services = [each for each in manifests.resources() if each["kind"] == "Service"]
    assert {service["spec"]["type"] for service in services} == {"ClusterIP"}
    spec = manifests.flink()
    exposed = "kubernetes.rest-service.exposed.type"
    assert spec["flinkConfiguration"][exposed] == "ClusterIP"
    assert "ingress" not in spec
    for pod in manifests.pods().values():
        assert not pod["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for each in manifests.containers(pod):
            assert all("hostPort" not in port for port in each.get("ports", []))
