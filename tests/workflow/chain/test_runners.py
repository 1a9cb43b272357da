"""Options of Beam by the settings of a run file."""

import shutil

import pytest

from workflow.chain import runners
from workflow.run_file.config import DataflowSection, LabelingSection, RunnerSection

CLOUD = DataflowSection(
    project="my-project", region="us-central1", bucket="my-bucket", image="eu/image"
)
GPU = DataflowSection(
    **{
        **vars(CLOUD),
        "accelerator": "nvidia-l4",
        "machine": "g2-standard-4",
        "options": ("--dataflow_service_options=worker_accelerator=type:x", "--a=b"),
    }
)


def dataflow(section=CLOUD):
    return RunnerSection(name="dataflow", dataflow=section)


def flags(arguments):
    return {each.name: each.value for each in arguments}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("local", "FnApiRunner"), ("flink", "PortableRunner"), ("prism", "PrismRunner")],
)
def test_each_runner_has_its_options(name, expected):
    runner = RunnerSection(name=name, prism="/opt/prism")
    found = runners.options(runner, labeling=True)
    assert found[0] == f"--runner={expected}"
    assert ("--prism_location=/opt/prism" in found) == (name == "prism")
    assert runners.local_options(runner) == found


@pytest.mark.parametrize("name", ["local", "flink", "prism"])
def test_options_of_the_user_replace_them(name):
    runner = RunnerSection(name=name, beam_options=("--runner=FlinkRunner",))
    assert runners.options(runner, labeling=True) == ("--runner=FlinkRunner",)


def test_prism_is_found_on_the_path_or_refused(monkeypatch):
    runner = RunnerSection(name="prism")
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert runners.options(runner, labeling=False)[-1] == "--prism_location=/bin/prism"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"runner\.prism"):
        runners.options(runner, labeling=False)


def test_dataflow_has_the_settings_of_the_run_file():
    found = runners.options(dataflow(), labeling=True)
    expected = {
        "--runner=DataflowRunner",
        "--project=my-project",
        "--region=us-central1",
        "--sdk_container_image=eu/image",
        "--service_account_email=noisy-student-rs@my-project.iam.gserviceaccount.com",
    }
    assert expected <= set(found)
    assert runners.local_options(dataflow()) == ("--runner=FnApiRunner",)


def test_the_accelerator_and_its_machine_are_for_labeling_alone():
    labeling, other = (
        runners.options(dataflow(GPU), labeling=is_labeling)
        for is_labeling in (True, False)
    )
    only = {
        "--accelerator=nvidia-l4",
        "--machine_type=g2-standard-4",
        "--dataflow_service_options=worker_accelerator=type:x",
    }
    assert set(labeling) - set(other) == only
    assert "--a=b" in other


@pytest.mark.parametrize(
    ("section", "engine"), [(CLOUD, "openvino"), (GPU, "tensorflow")]
)
def test_workers_of_dataflow_have_an_engine_of_their_own(section, engine):
    found = flags(runners.engine(LabelingSection(), dataflow(section)))
    assert found == {"engine": engine, "dtype": "float32"}
    given = LabelingSection(engine="onnxruntime")
    found = flags(runners.engine(given, dataflow(section)))
    assert found == {"engine": "onnxruntime", "dtype": "float32"}


def test_the_fastest_engine_of_this_machine_needs_no_flag():
    assert runners.engine(LabelingSection(), RunnerSection()) == ()
    assert runners.engine(LabelingSection(), None) == ()
