import pytest

from tests.infra import jobs
from tests.infra.disturbed import Chaos


@pytest.mark.slow
def test_six_kills_change_nothing(tmp_path):
    jobs.prepare(tmp_path)
    toll = Chaos(tmp_path, seed=1).run(kills=6)
    assert toll.kills == 6
    assert toll.launchers + toll.jobs
    assert toll.workers
