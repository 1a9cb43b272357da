"""TensorFlow is imported before anything else could import it slowly."""

import json
import subprocess
import sys

PROGRAM = """
import gc, json, sys
import apache_beam.runners.worker.sdk_worker
before = "tensorflow" in sys.modules, gc.get_freeze_count()
import beam_jobs.inference
print(json.dumps([before, gc.get_freeze_count(), gc.isenabled()]))
"""


def test_a_worker_does_not_look_for_garbage_in_tensorflow():
    output = subprocess.check_output([sys.executable, "-c", PROGRAM], text=True)
    before, frozen, is_enabled = json.loads(output)
    assert before == [False, 0]
    assert frozen > 100_000
    assert is_enabled
