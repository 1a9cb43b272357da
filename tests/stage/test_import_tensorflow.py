"""TensorFlow is imported before anything else could import it slowly."""

import json
import subprocess
import sys

import pytest

MODULES = (
    "beam_jobs.labeling.worker",
    "beam_jobs.writing.worker",
    "beam_jobs.writing.job",
)
#: Imports each module in a process of its own, which Beam's worker has begun.
PROGRAM = """
import gc, importlib, json, os, sys
import apache_beam.runners.worker.sdk_worker
before = "tensorflow" in sys.modules, gc.get_freeze_count()
for module in sys.argv[1:]:
    if not os.fork():
        importlib.import_module(module)
        found = module, before, gc.get_freeze_count(), gc.isenabled()
        os.write(1, json.dumps(found).encode() + b"\\n")
        os._exit(0)
for module in sys.argv[1:]:
    os.wait()
"""


@pytest.fixture(scope="module")
def imported():
    """Garbage collection by module: before its import, frozen objects, enabled."""
    program = [sys.executable, "-c", PROGRAM, *MODULES]
    output = subprocess.check_output(program, text=True)
    return {found[0]: found[1:] for found in map(json.loads, output.splitlines())}


@pytest.mark.parametrize("module", MODULES)
def test_a_worker_imports_tensorflow_without_garbage_collection(imported, module):
    before, frozen, is_enabled = imported[module]
    assert before == [False, 0]
    assert frozen > 100_000
    assert is_enabled
