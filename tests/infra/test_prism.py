import os
import shutil

import pytest

PRISM = shutil.which(os.environ.get("PRISM", "prism"))


@pytest.mark.slow
@pytest.mark.skipif(PRISM is None, reason="no prism on the PATH, nor named by PRISM")
def test_prism_labels_selects_and_writes_as_the_local_runner_does(labeling):
    flags = (
        "--runner=PrismRunner",
        f"--prism_location={PRISM}",
        "--environment_type=LOOPBACK",
    )
    labeling.label("prism", flags)
    labeling.select_and_write("prism", flags)
