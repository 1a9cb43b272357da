import pytest
import tensorflow as tf

from benchmarks.writing import runs
from tests import commands


@pytest.mark.slow
def test_stock_writes_the_records_that_ours_writes(made, tmp_path):
    contents = []
    ways = ("ours", "stock")
    argv = [runs.write_command(way, made, str(tmp_path / way), 4)[2:] for way in ways]
    commands.run_together(*argv)
    for way in ways:
        files = sorted(map(str, (tmp_path / way).glob("pseudo_labels*")))
        records = tf.data.TFRecordDataset(files).as_numpy_iterator()
        contents.append(sorted(records))
        assert len(files) == 4
    assert len(contents[0]) > 600
    assert contents[0] == contents[1]
