"""TensorFlow is imported before anything else could import it slowly."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import gc, importlib, json, sys
import apache_beam.runners.worker.sdk_worker
before = "tensorflow" in sys.modules, gc.get_freeze_count()
importlib.import_module(sys.argv[1])
print(json.dumps([before, gc.get_freeze_count(), gc.isenabled()]))
"""


@pytest.mark.parametrize(
    "module",
    ["beam_jobs.labeling.worker", "beam_jobs.writing.worker", "beam_jobs.writing.job"],
)
def test_a_worker_does_not_look_for_garbage_in_tensorflow(module):
    program = [sys.executable, "-c", PROGRAM, module]
    output = subprocess.check_output(program, text=True)
    before, frozen, is_enabled = json.loads(output)
    assert before == [False, 0]
    assert frozen > 100_000
    assert is_enabled
