import pytest

from beam_jobs.runners import failure


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Startup of the worker pool failed", "Startup of the worker pool failed"),
        ("", "unknown"),
        (
            "from worker: Traceback (most recent call last):\n  File 'x.py', line 7\n"
            "beam_jobs.labeling.worker.LabelingError: no GPU [while running 'Label']\n"
            "\nDuring handling of the above exception:\n",
            "no GPU",
        ),
        ("Traceback:\n  x\nOSError: disk full\n", "OSError: disk full"),
    ],
)
def test_the_reason_is_the_innermost_exception(text, reason):
    assert failure.reason(text) == reason
