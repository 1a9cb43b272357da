from benchmarks.labeling import bare, inputs
from classifier.inference.ensemble import Classifier
from tests import images


def test_the_bare_loop_decodes_as_the_export_does(exported, tmp_path):
    directory, _ = exported
    classifier = Classifier(directory)
    jpegs = images.random_images(3)
    inputs.write_records(tmp_path / "records", jpegs, shards=1, size=3)
    dataset = bare.pixel_batches(
        [str(path) for path in (tmp_path / "records").iterdir()],
        classifier.image,
        parallel=1,
    )
    (pixels,) = dataset.as_numpy_iterator()
    assert pixels.tolist() == classifier.preprocess(jpegs).tolist()
