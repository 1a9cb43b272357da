"""The files of infra/kubernetes agree with each other and with the rest."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions
from apache_beam.runners.portability.stager import Stager

from beam_jobs import label_images
from beam_jobs.runners import options as beam_options
from infra.flink import cluster, install
from tests.commands import ROOT
from tests.infra.kubernetes import manifests

PORTS = cluster.Ports(web=8081, rpc=6123, jobs=8099, workers=50001)


def local_command(name):
    """Returns a command of the cluster on this machine."""
    paths = install.Jars(pathlib.Path("jars")), PORTS, pathlib.Path("run")
    (service,) = (each for each in cluster.services(*paths) if each.name == name)
    return service.command


def pool_port():
    (flag,) = manifests.container("task-manager", "worker-pool")["command"][3:]
    return int(flag.removeprefix("--service_port="))


def beam_arguments(values):
    command = manifests.launcher(values)
    return command[command.index("--") + 1 :]


# --- versions ------------------------------------------------------------------
def test_flink_is_the_one_on_this_machine():
    version = install.FLINK.partition("==")[2]
    minor = version.rpartition(".")[0]
    spec = manifests.flink()
    assert re.fullmatch(rf"flink:{re.escape(version)}-java\d+", spec["image"])
    assert spec["flinkVersion"] == f"v{minor.replace('.', '_')}"
    assert f"<artifactId>beam-runners-flink-{minor}<" in install.POM.read_text()


def test_the_job_server_is_of_beams_and_flinks_version():
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    (beam,) = (pin for pin in pins if pin.startswith("apache-beam=="))
    image = manifests.container("job-server", "job-server")["image"]
    found = re.fullmatch(r"apache/beam_flink([\d.]+)_job_server:([\d.]+)", image)
    assert f"apache-beam=={found[2]}" == beam
    assert f"v{found[1].replace('.', '_')}" == manifests.flink()["flinkVersion"]
    # Beam publishes an image for each of these.
    assert found[1] in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS


def test_the_page_names_what_is_fetched():
    page = (ROOT / "docs/runners.md").read_text()
    assert f"`{manifests.flink()['image']}`" in page
    assert f"`{manifests.container('job-server', 'job-server')['image']}`" in page


def test_one_image_holds_the_commands_of_pool_and_launcher():
    (image,) = manifests.kustomization()["images"]
    pool = manifests.container("task-manager", "worker-pool")
    launcher = manifests.container("launcher", "label-images")
    assert pool["image"] == launcher["image"] == image["name"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    packages = re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE)
    assert launcher["command"][2].partition(".")[0] in packages
    assert "openvino" in re.search(r"^ARG EXTRAS=(.*)$", dockerfile, re.MULTILINE)[1]


# --- addresses -----------------------------------------------------------------
def test_each_service_has_the_ports_of_one_kind_of_pod():
    for resource in manifests.resources():
        if resource["kind"] != "Service":
            continue
        selector = resource["spec"]["selector"].items()
        (pod,) = (
            pod
            for pod in manifests.pods().values()
            if selector <= pod["metadata"]["labels"].items()
        )
        ports = {
            port["name"]: port["containerPort"]
            for each in manifests.containers(pod)
            for port in each["ports"]
        }
        for port in resource["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_the_launcher_finds_the_job_server_and_each_task_manager_its_pool():
    flags = dict(flag.split("=", 1) for flag in beam_arguments(manifests.settings()))
    host, _, port = flags["--job_endpoint"].partition(":")
    service = manifests.find("Service", host)
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
    assert flags["--environment_config"] == f"localhost:{pool_port()}"
    pool = manifests.container("task-manager", "worker-pool")
    assert [port["containerPort"] for port in pool["ports"]] == [pool_port()]
    assert pool["startupProbe"]["tcpSocket"]["port"] == pool["ports"][0]["name"]
    assert pool["restartPolicy"] == "Always"


def test_the_job_server_finds_flink_and_has_the_flags_of_the_one_here():
    server = manifests.container("job-server", "job-server")
    flags = dict(flag.split("=", 1) for flag in server["args"])
    assert flags["--flink-master"] == f"flink-rest:{manifests.REST_PORT}"
    here = {word.partition("=")[0] for word in local_command("job-server")}
    assert flags.keys() <= here
    ports = {port["name"]: str(port["containerPort"]) for port in server["ports"]}
    assert ports == {"jobs": flags["--job-port"], "artifacts": flags["--artifact-port"]}


# --- the job -------------------------------------------------------------------
def test_the_launchers_flags_are_those_of_the_command():
    command = manifests.launcher(manifests.settings())
    assert command[:3] == ["python", "-m", "beam_jobs.label_images"]
    rest = label_images.FLAGS.parse(command[2:])[1:]
    assert rest == beam_arguments(manifests.settings())
    options = beam_options.parse(["label_images", *rest])
    known = options.get_all_options()
    names = {flag.removeprefix("--").partition("=")[0] for flag in rest}
    assert names <= known.keys()


def count_staged(arguments, directory):
    options = beam_options.parse(["label_images", *arguments])
    return len(Stager.create_job_resources(options, str(directory)))


def test_nothing_is_staged_that_task_managers_would_look_for(tmp_path):
    arguments = beam_arguments(manifests.settings())
    assert count_staged(arguments, tmp_path) == 0
    without = [each for each in arguments if "experiments" not in each]
    assert count_staged(without, tmp_path) == 1


def test_there_is_a_slot_for_each_part_of_the_job():
    values = manifests.settings()
    (parallelism,) = (
        int(flag.partition("=")[2])
        for flag in beam_arguments(values)
        if flag.startswith("--parallelism=")
    )
    spec = manifests.flink()
    slots = int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert spec["taskManager"]["replicas"] * slots == parallelism
    assert parallelism == int(values["WORKERS"])


def test_flink_is_configured_as_on_this_machine(tmp_path):
    here = yaml.safe_load(cluster._config(PORTS, tmp_path))
    there = manifests.flink()["flinkConfiguration"]
    for limit in ("min", "max"):
        network = here["taskmanager"]["memory"]["network"][limit]
        assert there[f"taskmanager.memory.network.{limit}"] == network
    strategy = here["restart-strategy"]
    assert there["restart-strategy.type"] == strategy["type"]
    attempts = strategy["fixed-delay"]["attempts"]
    assert there["restart-strategy.fixed-delay.attempts"] == str(attempts)
    assert there["web.submit.enable"] == json.dumps(here["web"]["submit"]["enable"])
    name = "access-control-allow-origin"
    assert there[f"web.{name}"] == here["web"][name]
    opened = [word for word in local_command("job-manager") if "--add-" in word]
    assert there["env.java.opts.all"].split() == opened


# --- pods ----------------------------------------------------------------------
@pytest.mark.parametrize("component", manifests.pods())
def test_pods_meet_the_restricted_standard_and_have_no_rights(component):
    """As Kubernetes' Pod Security Standards define `restricted`."""
    pod = manifests.pods()[component]
    spec = pod["spec"]
    assert pod["metadata"]["labels"][manifests.PART_OF] == "noisy-student-rs"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    account = manifests.find("ServiceAccount", spec["serviceAccountName"])
    assert account["automountServiceAccountToken"] is False
    for each in manifests.containers(pod):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    kinds = {resource["kind"] for resource in manifests.resources()}
    assert not any("Role" in kind for kind in kinds)


@pytest.mark.parametrize("component", manifests.pods())
def test_pods_ask_for_what_they_may_use(component):
    for each in manifests.containers(manifests.pods()[component]):
        if each["name"] == "flink-main-container":  # Set by Flink's operator.
            continue
        resources = each["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"] == {"memory": resources["requests"]["memory"]}
    spec = manifests.flink()
    for part in ("jobManager", "taskManager"):
        assert spec[part]["resource"].keys() == {"cpu", "memory"}


# --- kustomize -----------------------------------------------------------------
@pytest.fixture
def render(tmp_path):
    """Renders the files, some of which were changed, as `kubectl apply -k` does."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on the PATH")
    directory = tmp_path / "kubernetes"
    shutil.copytree(manifests.DIRECTORY, directory)

    def render(file, old, new):
        text = (directory / file).read_text()
        assert text.count(old) == 1
        (directory / file).write_text(text.replace(old, new))
        command = ["kubectl", "kustomize", str(directory)]
        output = subprocess.check_output(command, text=True)
        return {each["kind"]: each for each in yaml.safe_load_all(output)}

    return render


def test_settings_reach_flink_and_the_job(render):
    found = render("settings.env", "WORKERS=4", "WORKERS=12")
    assert found["FlinkDeployment"]["spec"]["taskManager"]["replicas"] == 12
    (job,) = found["Job"]["spec"]["template"]["spec"]["containers"]
    name = found["ConfigMap"]["metadata"]["name"]
    assert job["envFrom"] == [{"configMapRef": {"name": name}}]
    assert found["ConfigMap"]["data"] == {**manifests.settings(), "WORKERS": "12"}


def test_the_image_reaches_pool_and_job_and_all_are_in_one_namespace(render):
    found = render("kustomization.yaml", "my-registry/noisy-student-rs", "other/image")
    (job,) = found["Job"]["spec"]["template"]["spec"]["containers"]
    task_manager = found["FlinkDeployment"]["spec"]["taskManager"]["podTemplate"]
    (pool,) = task_manager["spec"]["initContainers"]
    assert pool["image"] == job["image"] == "other/image:1"
    places = {each["metadata"]["namespace"] for each in found.values()}
    assert places == {manifests.kustomization()["namespace"]}


def test_the_volume_reaches_pool_and_job_and_is_not_deleted_with_them(render):
    found = render("kustomization.yaml", "# components", "components")
    task_manager = found["FlinkDeployment"]["spec"]["taskManager"]["podTemplate"]
    for spec, kind in (
        (task_manager["spec"], "initContainers"),
        (found["Job"]["spec"]["template"]["spec"], "containers"),
    ):
        (volume,) = spec["volumes"]
        claim = volume["persistentVolumeClaim"]["claimName"]
        assert manifests.find("PersistentVolumeClaim", claim)
        mount = {"name": volume["name"], "mountPath": "/data"}
        assert spec[kind][0]["volumeMounts"] == [mount]
    assert "PersistentVolumeClaim" not in found
