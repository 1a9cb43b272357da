"""The FlinkDeployment of infra/kubernetes, by what its operator and Flink define."""

import copy
import re
import subprocess
import zipfile

import jsonschema
import pytest
import yaml

from infra.flink.install import install
from tests.infra import local_flink
from tests.infra.kubernetes import manifests

pytestmark = local_flink.NEEDED

#: Holds the definition that the operator's chart installs; docs/runners.md installs it.
OPERATOR = "1.10.0"
ARTIFACT = f"org.apache.flink:flink-kubernetes-operator-api:{OPERATOR}"
DEFINITION = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"


def strict(schema):
    """Returns a schema of a custom resource that refuses unknown fields."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    found = {name: strict(value) for name, value in schema.items()}
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") is True
    if isinstance(schema.get("properties"), dict) and not keeps:
        found["additionalProperties"] = False
    return found


@pytest.fixture(scope="module")
def definition(tmp_path_factory):
    """A validator of a FlinkDeployment's `spec`."""
    directory = tmp_path_factory.mktemp("operator")
    subprocess.run(
        [
            *("mvn", "--quiet", "--batch-mode", "dependency:copy"),
            *(f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={directory}"),
        ],
        check=True,
    )
    (path,) = directory.glob("*.jar")
    with zipfile.ZipFile(path) as jar:
        found = yaml.safe_load(jar.read(DEFINITION))
    (version,) = found["spec"]["versions"]
    group = found["spec"]["group"]
    resource = manifests.find("FlinkDeployment", "flink")
    assert resource["apiVersion"] == f"{group}/{version['name']}"
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    return jsonschema.Draft202012Validator(strict(properties["spec"]))


def test_flinks_deployment_follows_the_operators_definition(definition):
    definition.validate(manifests.flink())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["flinkVersion"], "v1_9"),
        (["flinkConfig"], {}),
        (["taskManager", "replicas"], "4"),
        (["taskManager", "resource", "cpu"], "1"),
        (["flinkConfiguration", "taskmanager.numberOfTaskSlots"], 1),
        (["taskManager", "podTemplate", "spec", "initContainer"], []),
        (["podTemplate", "spec", "securityContext", "runAsUser"], "9999"),
    ],
)
def test_a_wrong_field_or_type_of_it_is_found(definition, path, value):
    wrong = copy.deepcopy(manifests.flink())
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        definition.validate(wrong)


@pytest.fixture(scope="module")
def jars():
    return install(local_flink.HOME, log=lambda line: None).flink


def test_every_option_is_one_that_flink_knows(jars):
    (path,) = jars.glob("flink-dist-*.jar")
    with zipfile.ZipFile(path) as jar:
        known = b"".join(
            jar.read(name)
            for name in jar.namelist()
            if re.search(r"/configuration/\w*Options\.class$", name)
        )
    for option in manifests.flink()["flinkConfiguration"]:
        # In a class file, a text has its length in front.
        assert len(option).to_bytes(2, "big") + option.encode() in known, option
