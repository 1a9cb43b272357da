"""The files of infra/kubernetes follow the schemas of Kubernetes."""

import copy

import kubernetes_validate
import pytest

from tests.infra.kubernetes import manifests

#: The first in which an init container may go on running, and the last one here.
VERSIONS = ("1.29", "1.37")
#: Its schema is the operator's; see test_definition.py.
CUSTOM = "FlinkDeployment"


def described():
    """Returns all resources but Flink's, of which the pods."""
    known = [each for each in manifests.resources() if each["kind"] != CUSTOM]
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **pod}
        for component, pod in manifests.pods().items()
        if component in ("job-manager", "task-manager")
    ]
    return known + pods


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_follows_its_schema(version):
    for resource in described():
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Service", ["spec", "port"], 8099),
        ("Service", ["spec", "ports", 0, "port"], "8099"),
        ("Deployment", ["spec", "replicas"], "1"),
        ("Deployment", ["spec", "selector", "matchLabels"], ["job-server"]),
        ("Job", ["spec", "backofLimit"], 5),
        ("Job", ["spec", "template", "spec", "containers", 0, "args"], "--runner"),
        ("NetworkPolicy", ["spec", "ingres"], []),
        ("PersistentVolumeClaim", ["spec", "accessModes"], "ReadWriteMany"),
        ("Pod", ["spec", "containers", 0, "securityContext", "runAsUser"], "9999"),
        ("Pod", ["spec", "containers", 0, "imagePull"], "Always"),
    ],
)
def test_a_wrong_field_or_type_is_found(kind, path, value):
    resource = next(each for each in described() if each["kind"] == kind)
    wrong = copy.deepcopy(resource)
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)
