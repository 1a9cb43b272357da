"""What `make` prints: its help, and which variables it does not know.

  python -m infra.make                     help
  python -m infra.make --check_python      a line if this Python is too old or too new
  python -m infra.make LABELED ROUNDZ      a line about variables that there are not

It runs before anything is installed, and with any Python, to say so.
"""

from __future__ import annotations

import sys

from stage.overrides import unknown

#: Targets and what they do.
TARGETS = {
    "help": "List targets and variables",
    "setup": "Create .venv and install what a run needs, and EXTRAS=",
    "demo": "Run all stages on handwritten digits, in five to twenty minutes",
    "demo-seeds": "Run the demo with SEEDS=5 seeds and compare the results",
    "clean-demo": "Delete the files of the demo",
    "teacher": "Train the teacher of round ROUND=1",
    "calibration": "Calibrate it, with CALIBRATION= or SET=teacher.folds=3",
    "labels": "Label all images with it",
    "selection": "Select the best predictions of every class",
    "records": "Write the selected images as TFRecords",
    "verify": "Verify the records",
    "student": "Train the student of the round",
    "evaluation": "Compare the student with its teacher",
    "samples": "Draw samples for the report's contact sheets",
    "control": "Train the control: labels alone, compute of a chain of ROUNDS=1",
    "report": "Run ROUNDS=1 rounds and report on them",
    "rounds": "Run rounds while accuracy on CALIBRATION= improves, at most ROUNDS=3",
    "status": "Show which stages are done, stale or to do",
    "flink-up": "Start a Flink cluster on this machine, for RUNNER=flink",
    "flink-down": "Stop the Flink cluster",
    "container": "Build the container of Dataflow's workers",
    "dataflow-check": "Look for what a job on Dataflow needs, and say what to type",
    "dataflow-smoke": "Label 100 images on Dataflow, for some cents",
    "estimate": "Estimate labeling NUM_IMAGES= on Dataflow, at RATE= per second",
    "format": "Format the code",
    "lint": "Check style, docstrings and the layers of imports",
    "typecheck": "Check the types",
    "test": "Run the fast tests",
    "test-all": "Run all tests, and fuzz for half a minute",
    "check": "Run what CI runs: lint, typecheck and test",
    "fuzz": "Read damaged files for SECONDS=60",
    "browser": "Install Chromium (Debian, as root) for a test of the report",
    "tpu-compile": "Compile the training step for TPUs, on a machine without one",
    "test-runners": "Test the jobs on Flink and Prism, killing processes",
    "chaos": "Test labeling while KILLS=200 processes are killed",
    "test-container": "Run the Dockerfile's steps here, without docker",
    "clean": "Delete caches and build files; keep runs/ and .venv",
}
#: Variables with their defaults, and what they are.
VARIABLES = {
    "RUN": (
        "runs/demo",
        "Directory of all that is made; its run.toml has settings",
    ),
    "FILE": ("", "Run file, as `noisy-student init FOLDER` writes it"),
    "SET": ("", 'Settings, as in SET="teacher.members=3"; with blanks: in FILE='),
    "ARGS": ("", "Further flags of the command, such as --remake or --dry_run"),
    "LABELED": ("", "Labeled images, such as folder:birds/labeled"),
    "EVALUATION": ("", "Labeled images to measure accuracy on"),
    "IMAGES": ("", "Images to label"),
    "CALIBRATION": ("", "Labeled images to calibrate on and to compare rounds by"),
    "LABELS_PER_CLASS": ("5", "Number of labeled digits of each class"),
    "PRESET": ("auto", "Recipe of teacher and student; auto: by images and machine"),
    "FEATURES": ("", "Pretrained features of a probe, such as keras:EfficientNetV2B0"),
    "MINUTES": ("30", "Longest duration of a round, roughly, for PRESET=auto"),
    "SEED": ("1", "Random seed of the run, or of make fuzz"),
    "ROUND": ("1", "Round of the stage"),
    "ROUNDS": ("1", "Number of rounds"),
    "JOBS": ("1", "Number of stages that run side by side; 0: one for each core"),
    "SEEDS": ("5", "Number of seeds of make demo-seeds"),
    "RUNNER": ("local", "What runs Beam's jobs: local, flink, prism or dataflow"),
    "TPU": ("", "vm: train on the TPU of this host; pod: on a slice"),
    "PROJECT": ("", "Project of Google Cloud"),
    "REGION": ("", "Region of Google Cloud"),
    "BUCKET": ("", "Bucket in that region"),
    "ACCELERATOR": ("", "GPU of each labeling worker: nvidia-tesla-t4 or nvidia-l4"),
    "MAX_WORKERS": ("10", "Most workers of a job"),
    "MAX_HOURS": ("24", "Hours after which a job is ended"),
    "NUM_IMAGES": ("", "Number of images for make estimate"),
    "RATE": ("", "Images per second and core or, with an accelerator, worker"),
    "BUILDER": ("cloud", "What builds the container: cloud or docker"),
    "EXTRAS": ("", "Extras of pyproject.toml to install, such as onnx,hub"),
    "PYTHON": ("python3", "Python 3.11, 3.12 or 3.13, for .venv"),
    "TEST_PROCESSES": ("2", "Number of test processes, of up to 4 GB each"),
    "SECONDS": ("60", "Duration of make fuzz"),
    "KILLS": ("200", "Number of processes that make chaos kills"),
}
#: Former variables, and what has replaced them.
REPLACED = {
    "BEAM_FLAGS": """SET='runner.beam_options=["OPTION"]'""",
    "CALIBRATION_IMAGES": "SET=data.digits.calibration_images=200",
    "CLASS_NAMES": "SET=data.class_names=FILE",
    "CONFIDENCE_THRESHOLD": "SET=selection.confidence_threshold=0.5",
    "CONSISTENCY": "SET=teacher.consistency=off",
    "DATAFLOW_FLAGS": """SET='runner.dataflow.options=["OPTION"]'""",
    "DATA_DIR": "SET=data.data_dir=DIRECTORY",
    "DUPLICATE_BITS": "SET=selection.duplicate_bits=2",
    "DUPLICATE_SIMILARITY": "SET=selection.duplicate_similarity=0.95",
    "EXCLUDE": """SET='data.exclude=["SOURCE"]'""",
    "FLINK_FLAGS": "ARGS=",
    "FOLDS": "SET=teacher.folds=3",
    "IMAGE": "SET=runner.dataflow.image=IMAGE",
    "IMAGES_PER_CLASS": "SET=selection.images_per_class=100",
    "LABELING_FLAGS": """SET='labeling.flags=["FLAG"]'""",
    "MACHINE": "SET=runner.dataflow.machine=TYPE",
    "MAX_COPIES": "SET=selection.max_copies=3",
    "NEIGHBORS": "SET=labeling.neighbors=10",
    "PATIENCE": "SET=rounds.patience=2",
    "PRISM": "SET=runner.prism=FILE",
    "SELECTION_FLAGS": """SET='selection.flags=["FLAG"]'""",
    "STUDENT_FLAGS": "SET=student.settings.NAME=VALUE",
    "STUDENT_PRESET": "SET=student.preset=PRESET",
    "TARGET_PRECISION": "SET=selection.target_precision=0.95",
    "TEACHERS": "SET=teacher.members=3",
    "TEACHER_FLAGS": "SET=teacher.settings.NAME=VALUE",
    "THREADS": "SET=runner.threads=1",
    "TPU_COMPILE_FLAGS": "ARGS=",
    "WORKER_ACCOUNT": "SET=runner.dataflow.worker_account=ACCOUNT",
}
#: Python versions that the packages support, the last excluded.
_FIRST, _LAST = (3, 11), (3, 14)


def describe_unknown(name: str) -> str:
    """Returns the message for a variable; "" for one that there is."""
    if name in VARIABLES:
        return ""
    if name in REPLACED:
        present = REPLACED[name]
        # make splits at blanks, in quotes, too.
        file = " (with blanks in FILE= only)" if present.startswith("SET=") else ""
        return f"{name}= has become {present}{file}, see docs/run_file.md"
    return unknown("variable", name, VARIABLES)


def describe_python(version: tuple[int, int]) -> str:
    """Returns the message for a version of Python; "" for a supported one."""
    if _FIRST <= version < _LAST:
        return ""
    found = ".".join(map(str, version))
    return (
        f"error: expected Python 3.11, 3.12 or 3.13, got {found}; name one: "
        "make PYTHON=python3.12"
    )


def help_text() -> str:
    """Returns the lines of `make help`."""
    targets = [f"  {name:16}  {text}" for name, text in TARGETS.items()]
    variables = [
        f"  {f'{name}={default}':18}  {text}"
        for name, (default, text) in VARIABLES.items()
    ]
    return "\n".join([*targets, "", *variables, ""])


def main(arguments: list[str]) -> None:
    """Prints what is asked for."""
    if not arguments:
        sys.stdout.write(help_text())
    elif arguments == ["--check_python"]:
        sys.exit(describe_python(sys.version_info[:2]) or 0)
    else:
        found = (describe_unknown(name) for name in arguments)
        sys.stdout.write(next(filter(None, found), ""))


if __name__ == "__main__":
    main(sys.argv[1:])
