import dataclasses

from classifier.data import leak
from classifier.data.inspection import inspect
from classifier.data.sources import open_source
from stage import artifact
from tests.images import random_images, write_folder, write_records


def open_folder(root, images):
    write_folder(root, images, [index % 3 for index in range(len(images))])
    return inspect(open_source(f"folder:{root}"))


def test_images_of_the_same_bytes_are_shared_whatever_their_names(tmp_path):
    images = random_images(12)
    labeled = open_folder(tmp_path / "labeled", images[:6])
    for first, shared in ((0, 6), (3, 3), (6, 0)):
        others = open_folder(tmp_path / f"from-{first}", images[first : first + 6])
        assert leak.count_shared(labeled, others) == shared
    write_records(tmp_path / "a.tfrecord", images[4:7], [0, 1, 2])
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    spec, how = f"tfrecord:{tmp_path}/a.tfrecord", {"class_names_file": str(names)}
    assert leak.count_shared(labeled, inspect(open_source(spec, **how))) == 2


def test_a_source_that_was_not_inspected_shares_nothing(tmp_path):
    labeled = open_folder(tmp_path / "labeled", random_images(3))
    unknown = dataclasses.replace(labeled, digests=())
    assert leak.count_shared(labeled, unknown) == 0
    assert leak.count_shared(unknown, labeled) == 0


def test_a_classifier_that_was_trained_on_the_images_is_named(tmp_path):
    source = open_folder(tmp_path / "images", random_images(6))
    other = open_folder(tmp_path / "others", random_images(6, seed=1))
    described = source.describe()
    configs = {
        "trained": {"labeled": described},
        "fold": {"labeled": {}, "left_out": {"labeled": described}},
        "other": {"labeled": other.describe(), "left_out": None},
        "probe": {"labeled": None},
    }
    for name, config in configs.items():
        artifact.start_or_resume(tmp_path / name, config)
    for name in configs:
        lines = leak.describe([tmp_path / "none", tmp_path / name], source)
        assert bool(lines) == (name in ("trained", "fold"))
        assert all(str(tmp_path / name) in line for line in lines)
