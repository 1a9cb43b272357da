import os
import shutil

import pytest

PRISM = shutil.which(os.environ.get("PRISM", "prism"))


@pytest.mark.slow
@pytest.mark.skipif(PRISM is None, reason="no prism on the PATH, nor named by PRISM")
def test_prism_runs_the_jobs_as_the_local_runner_does(labeling, compare_propagation):
    flags = (
        "--runner=PrismRunner",
        f"--prism_location={PRISM}",
        "--environment_type=LOOPBACK",
    )
    labeling.label("prism", flags)
    labeling.select_and_write("prism", flags)
    compare_propagation("prism", flags, exact_images=10_000)
