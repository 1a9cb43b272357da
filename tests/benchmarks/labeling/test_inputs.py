import numpy as np
import pytest

from benchmarks.labeling import inputs
from classifier.data import sources
from classifier.inference.ensemble import Classifier
from tests import images


def test_records_hold_the_images_that_are_also_files(tmp_path):
    jpegs = [b"first", b"second", b"third"]
    inputs.write_records(tmp_path / "records", jpegs, shards=2, size=4)
    source = sources.open_source(f"tfrecord:{tmp_path}/records/*.tfrecord")
    found = [
        [example.image for example in source.reader.examples(file)]
        for file in source.files
    ]
    assert found == [[*jpegs, jpegs[0]]] * 2


def test_jpegs_are_files(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "NUM_JPEGS", 3)
    jpegs = inputs.write_jpegs(tmp_path / "jpegs")
    paths = sorted((tmp_path / "jpegs").iterdir())
    assert [path.read_bytes() for path in paths] == jpegs
    assert len(set(jpegs)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("network", [inputs.FREE, inputs.ONNX])
def test_a_network_knows_each_image(tmp_path, network):
    jpegs = images.random_images(3)
    inputs.export_network(network, tmp_path / network, jpegs)
    classifier = Classifier(str(tmp_path / network))
    logits = classifier.logits(classifier.preprocess(jpegs))
    assert logits.shape == (3, inputs.NUM_CLASSES)
    np.testing.assert_array_equal(logits.argmax(axis=1), range(3))
