"""The Indexed Job of infra/kubernetes/parts."""

import copy
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from beam_jobs import label_images
from beam_jobs.runners import options as beam_options
from beam_jobs.runners.run import parse_beam_arguments
from stage.parts import Part
from tests.infra.kubernetes import manifests, test_schemas

DIRECTORY = manifests.DIRECTORY / "parts"
(JOB,) = manifests.load("parts/label-images.yaml")
(CONTAINER,) = JOB["spec"]["template"]["spec"]["containers"]


def settings():
    lines = (DIRECTORY / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def arguments(index):
    """Returns the flags and Beam's options of a pod, filled in as Kubernetes does."""
    values = {**settings(), "PART": str(index)}
    words = [
        re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], word)
        for word in CONTAINER["args"]
    ]
    end = words.index("--")
    return words[:end], words[end + 1 :]


@pytest.mark.parametrize("version", test_schemas.VERSIONS)
def test_it_follows_the_schema(version):
    kubernetes_validate.validate(JOB, version, strict=True)


@pytest.mark.parametrize("name", ["backoffLimitPerIndx", "completionMod"])
def test_a_misspelled_field_is_found(name):
    wrong = copy.deepcopy(JOB)
    wrong["spec"][name] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, test_schemas.VERSIONS[-1], strict=True)


def test_each_index_labels_a_part_with_its_own_cores():
    count = int(settings()["PARTS"])
    assert JOB["spec"]["completionMode"] == "Indexed"
    assert JOB["spec"]["completions"] == JOB["spec"]["parallelism"] == count
    found = []
    for index in range(count):
        flags, beam = arguments(index)
        options = parse_beam_arguments(["", *beam], name="test")
        label_images.check_flags(flags, options)
        found.append(beam_options.parse_part(label_images._SHARDS.value, options))
    assert found == [Part(index, count) for index in range(count)]
    cores = CONTAINER["resources"]["requests"]["cpu"]
    assert f"--direct_num_workers={cores}" in arguments(0)[1]


def test_a_part_is_told_its_index():
    (part,) = (each for each in CONTAINER["env"] if each["name"] == "PART")
    path = part["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def test_a_killed_part_is_tried_again_after_its_lock_is_stale():
    seconds = [10 * 2**n for n in range(JOB["spec"]["backoffLimitPerIndex"])]
    assert sum(seconds) > 300


def test_pods_have_the_rights_of_those_of_flink():
    flinks = manifests.pods()["launcher"]["spec"]
    ours = JOB["spec"]["template"]["spec"]
    (launcher,) = flinks["containers"]
    names = {"containers", *ours} - {"containers"}
    assert {name: ours[name] for name in names} == {
        name: flinks[name] for name in names
    }
    for name in ("image", "command", "securityContext"):
        assert CONTAINER[name] == launcher[name]


@pytest.mark.parametrize("volume", [False, True])
def test_settings_image_and_volume_reach_the_job(tmp_path, volume):
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on the PATH")
    root = tmp_path / "kubernetes"
    shutil.copytree(manifests.DIRECTORY, root)
    for name, old, new in (
        ("settings.env", "PARTS=4", "PARTS=12"),
        ("kustomization.yaml", "my-registry/noisy-student-rs", "other/image"),
        *([("kustomization.yaml", "# components", "components")] if volume else []),
    ):
        path = root / "parts" / name
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
    output = subprocess.check_output(
        ["kubectl", "kustomize", str(root / "parts")], text=True
    )
    found = {each["kind"]: each for each in yaml.safe_load_all(output)}
    job = found["Job"]["spec"]
    assert job["completions"] == job["parallelism"] == 12
    (container,) = job["template"]["spec"]["containers"]
    assert container["image"] == "other/image:1"
    name = found["ConfigMap"]["metadata"]["name"]
    assert container["envFrom"] == [{"configMapRef": {"name": name}}]
    namespaces = {each["metadata"]["namespace"] for each in found.values()}
    assert namespaces == {manifests.kustomization()["namespace"]}
    assert ("volumes" in job["template"]["spec"]) == volume
