"""The files of infra/kubernetes, and the pods that they describe."""

import copy
import re

import yaml

from tests.commands import ROOT

DIRECTORY = ROOT / "infra" / "kubernetes"
PART_OF = "app.kubernetes.io/part-of"
COMPONENT = "app.kubernetes.io/component"
#: Port of Flink's REST interface, which no file sets.
REST_PORT = 8081


def load(path):
    return list(yaml.safe_load_all((DIRECTORY / path).read_text()))


def kustomization():
    (content,) = load("kustomization.yaml")
    return content


def resources():
    """Returns all resources, the optional volume's claim too."""
    files = [*kustomization()["resources"], "volume/claim.yaml"]
    return [resource for file in files for resource in load(file)]


def find(kind, name):
    (found,) = (
        each
        for each in resources()
        if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return found


def flink():
    return find("FlinkDeployment", "flink")["spec"]


def merge(base, more):
    """Returns a template with what another adds, as Flink's operator merges two."""
    merged = copy.deepcopy(base)
    for name, value in more.items():
        old = merged.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = merge(old, value) if both else value
    return merged


def pods():
    """Returns the templates of all pods by their component."""
    spec = flink()
    account = {"spec": {"serviceAccountName": spec["serviceAccount"]}}
    common = merge(spec["podTemplate"], account)
    templates = [
        merge(common, spec["jobManager"]["podTemplate"]),
        merge(common, spec["taskManager"]["podTemplate"]),
        find("Deployment", "job-server")["spec"]["template"],
        find("Job", "label-images")["spec"]["template"],
    ]
    return {each["metadata"]["labels"][COMPONENT]: each for each in templates}


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def container(component, name):
    (found,) = (each for each in containers(pods()[component]) if each["name"] == name)
    return found


def settings():
    lines = (DIRECTORY / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def launcher(values):
    """Returns the command of the job, with settings filled in as Kubernetes does."""
    job = container("launcher", "label-images")
    words = [*job["command"], *job["args"]]
    return [
        re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], word) for word in words
    ]
