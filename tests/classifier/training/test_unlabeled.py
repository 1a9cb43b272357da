import dataclasses
import itertools
import re

import numpy as np
import pytest

from classifier.data import preprocessing, sampling
from classifier.data.sampling import ExcludedImages
from classifier.data.sources import open_source
from classifier.training import trainer, unlabeled
from classifier.training.devices import ONE_PROCESS
from stage import licenses
from tests.images import random_images, write_folder

LABELS = [0, 1, 2, 0, 1, 2]
UNLABELED = random_images(11, seed=5)


def draw(folder, config):
    return unlabeled.draw(open_source(folder), config, ExcludedImages())


@pytest.fixture(scope="module")
def batch_config(config):
    """Two labeled and six unlabeled images a batch."""
    consistency = dataclasses.replace(config.consistency, unlabeled_ratio=3)
    # Building more operations takes longer than the batches.
    augment = dataclasses.replace(config.augment, num_ops=1, operations=("ShearX",))
    return dataclasses.replace(
        config, global_batch_size=8, consistency=consistency, augment=augment
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("unlabeled")
    write_folder(root, UNLABELED)
    (root / "text.png").write_text("no image")
    return f"folder:{root}"


@pytest.fixture(scope="module")
def sample(folder, batch_config):
    return draw(folder, batch_config)


@pytest.fixture(scope="module")
def run(tmp_path_factory, batch_config, sample):
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, random_images(len(LABELS)), LABELS)
    sources = trainer.open_sources(
        labeled=f"folder:{root}", evaluation=f"folder:{root}"
    )
    run = trainer.open_run(batch_config, sources)
    return dataclasses.replace(run, unlabeled=sample.source)


def change(config, *, shards=1, groups=1, **consistency):
    return dataclasses.replace(
        config,
        input_shards=shards,
        model=dataclasses.replace(config.model, batch_norm_groups=groups),
        consistency=dataclasses.replace(config.consistency, **consistency),
    )


def without_noise(config, **more):
    augment = dataclasses.replace(config.augment, num_ops=0)
    return change(dataclasses.replace(config, augment=augment), max_shift=0.0, **more)


def take(run, config, count, start_step=0, shard=0):
    make_batches = unlabeled.plan_batches(dataclasses.replace(run, config=config))
    batches = make_batches(start_step, shard)
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def assert_same(first, second):
    for left, right in zip(first, second, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def pixels(config):
    """Each unlabeled image as it is evaluated."""
    return [
        preprocessing.evaluation_image(image, config.image).numpy()
        for image in UNLABELED
    ]


def test_shapes_and_masks(first_batch):
    batch = first_batch
    assert {name: (values.shape, values.dtype) for name, values in batch.items()} == {
        "image": ((8, 32, 32, 3), np.uint8),
        "target": ((8, 3), np.float32),
        "mask/labeled": ((8,), np.bool_),
        "mask/unlabeled": ((8,), np.bool_),
        "view": ((6, 32, 32, 3), np.uint8),
        "index": ((6,), np.int32),
    }
    assert batch["mask/labeled"].tolist() == [True] * 2 + [False] * 6
    assert (batch["mask/unlabeled"] == ~batch["mask/labeled"]).all()
    np.testing.assert_allclose(batch["target"].sum(-1), [1] * 2 + [0] * 6, rtol=1e-6)


@pytest.mark.parametrize(("shards", "groups"), [(1, 2), (2, 1)])
def test_the_index_is_that_of_the_image_in_both_views(
    run, batch_config, shards, groups
):
    """Whatever the input shards and groups, and in every group the same mixture."""
    config = without_noise(batch_config, shards=shards, groups=groups)
    expected = pixels(config)
    seen = set()
    for shard in range(shards):
        for batch in take(run, config, 4, shard=shard):
            parts = max(shards, groups) // shards
            mask = batch["mask/unlabeled"].reshape(parts, -1)
            assert (mask.sum(-1) == 6 // shards // parts).all()
            assert (np.sort(mask, axis=-1) == mask).all()
            strong = batch["image"][batch["mask/unlabeled"]]
            for index, *views in zip(
                batch["index"], batch["view"], strong, strict=True
            ):
                seen.add(int(index))
                for view in views:
                    np.testing.assert_array_equal(view, expected[index])
    assert seen == set(range(len(UNLABELED)))


@pytest.fixture(scope="module")
def first_batch(run, batch_config):
    (batch,) = take(run, batch_config, 1)
    return batch


def changed(batch, originals):
    """Shares of the views, and of unlabeled and labeled images, that have noise."""
    plain = originals[batch["index"]]
    strong = batch["image"][batch["mask/unlabeled"]]
    labeled = [
        not (image == originals[11:]).all((1, 2, 3)).any()
        for image in batch["image"][batch["mask/labeled"]]
    ]
    views = (batch["view"], strong)
    return [
        *((each != plain).any((1, 2, 3)).mean() for each in views),
        np.mean(labeled),
    ]


@pytest.mark.parametrize(
    ("settings", "has_noise"),
    [
        ({}, (True, True, True)),
        ({"max_shift": 0.0}, (False, True, False)),
        ({"predicted_view": "clean"}, (False, True, True)),
        ({"max_shift": 0.0, "labeled_noise": "strong"}, (False, True, True)),
    ],
)
def test_views_have_their_noise(run, batch_config, settings, has_noise):
    originals = np.stack(
        pixels(batch_config)
        + [
            preprocessing.evaluation_image(image, batch_config.image).numpy()
            for image in random_images(len(LABELS))
        ]
    )
    (batch,) = take(run, change(batch_config, **settings), 1)
    shares = changed(batch, originals)
    assert all(
        (share > 0.4) == noise for share, noise in zip(shares, has_noise, strict=True)
    ), shares


def test_resuming_gives_the_batches_that_would_have_come(run, batch_config):
    whole = take(run, batch_config, 6)
    assert_same(take(run, batch_config, 2, start_step=4), whole[4:])


def test_many_processes_get_what_one_gets(run, batch_config):
    config = change(batch_config, shards=2)
    shards = [take(run, config, 3, start_step=1, shard=shard) for shard in (0, 1)]
    make_batches = unlabeled.plan_batches(dataclasses.replace(run, config=config))
    from classifier.training import input_pipeline

    one = input_pipeline.concat_batches([make_batches(1, shard) for shard in (0, 1)])
    together = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shards, strict=True)
    ]
    assert_same(itertools.islice(one.as_numpy_iterator(), 3), together)


def test_the_line_says_what_cannot_be_used(sample, batch_config):
    line = unlabeled.describe(sample, batch_config)
    assert "11 unlabeled" in line
    assert "1 cannot be used, first text.png" in line
    assert "behind" not in line
    cut = dataclasses.replace(sample, unread=("a#4: cut off", "b#7: cut off"))
    assert re.search(
        r"\b2, first a#4: cut off; .*behind", unlabeled.describe(cut, batch_config)
    )


def test_the_description_of_a_run_has_the_sample(run, sample):
    assert run.describe()["unlabeled"] == sample.source.describe()
    assert run.describe()["config"]["consistency"]["unlabeled_ratio"] == 3
    without = dataclasses.replace(run, unlabeled=None).describe()
    assert "unlabeled" not in without
    assert "consistency" not in without["config"]


@pytest.mark.parametrize(
    ("changes", "devices", "named"),
    [
        ({"unlabeled_ratio": 2}, 1, r"multiple of 3\b.*unlabeled_ratio.*\b8"),
        ({"unlabeled_ratio": 8}, 1, r"multiple of 9\b"),
        ({"groups": 4}, 1, r"divisible by 4\b.*batch_norm_groups.*\b2\b"),
        ({"shards": 4}, 1, r"divisible by 4\b.*input_shards.*\b2\b"),
        ({}, 8, r"divisible by 8\b.*devices.*\b2\b"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(
    batch_config, changes, devices, named
):
    hardware = dataclasses.replace(ONE_PROCESS, count=devices)
    unlabeled.check(batch_config, ONE_PROCESS)
    with pytest.raises(ValueError, match=named):
        unlabeled.check(change(batch_config, **changes), hardware)


def test_too_few_files_for_the_input_shards_are_refused(run, folder, monkeypatch):
    """Of the source before any image is decoded; some may be of no use."""
    config = dataclasses.replace(run.config, input_shards=12, global_batch_size=96)
    too_few = r"\b12\b.*input_shards\b.*\b11\b"
    with pytest.raises(ValueError, match=rf"^sample of folder:.*{too_few}"):
        unlabeled.add_sample(
            dataclasses.replace(run, config=config), draw(folder, config)
        )
    monkeypatch.delattr(preprocessing, "decode")
    config = dataclasses.replace(config, input_shards=16)
    with pytest.raises(ValueError, match=r"^folder:.*\b16\b.*\b12\b"):
        draw(folder, config)


def test_changed_files_are_named(folder, sample, batch_config):
    source = open_source(folder)
    unlabeled.check_again(sample, source, batch_config)
    with pytest.raises(ValueError, match="folder:"):
        unlabeled.check_again(sample, source, change(batch_config, max_images=5))


def test_excluded_images_are_counted_and_described(run, folder, tmp_path):
    write_folder(tmp_path, UNLABELED[:3])
    excluded = sampling.read_excluded([open_source(f"folder:{tmp_path}")])
    sample = unlabeled.draw(open_source(folder), run.config, excluded)
    assert "8 unlabeled" in unlabeled.describe(sample, run.config)
    assert "3 are excluded" in unlabeled.describe(sample, run.config)
    description = unlabeled.add_sample(run, sample).describe()
    assert description["excluded"] == excluded.sources
    assert "excluded" not in run.describe()
    unlabeled.check_again(sample, open_source(folder), run.config)


def test_the_images_that_a_sample_was_drawn_from_are_in_the_ledger(run, sample, folder):
    added = unlabeled.add_sample(run, sample, "CC0-1.0")
    origin = open_source(folder).origin("CC0-1.0")
    assert added.ledger == licenses.merge(run.ledger, [origin])
    assert len(added.ledger) == 2
