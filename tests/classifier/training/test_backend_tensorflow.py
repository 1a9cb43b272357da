import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from classifier.data.sources import open_source
from classifier.models import factory
from classifier.models.config import ModelConfig
from classifier.training import input_pipeline, losses, trainer
from classifier.training.backend_tensorflow import TensorFlowBackend
from tests.images import random_images, write_folder

LABELS = [0, 1, 2, 0, 1]


@pytest.fixture(scope="module")
def batches(tmp_path_factory, config):
    """The first four batches of some images, as NumPy arrays."""
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, random_images(len(LABELS)), LABELS)
    dataset = input_pipeline.training_batches(
        open_source(f"folder:{root}"),
        config,
        batch_size=4,
        make_target=trainer.hard_targets(config, num_classes=3),
    )
    return list(dataset.take(4).as_numpy_iterator())


def make_backend(config):
    return TensorFlowBackend(
        *(trainer.build(config, num_classes=3) for _ in "12"), config
    )


def test_a_checkpoint_of_another_network_is_refused(config):
    backend = make_backend(config)
    arrays = backend.arrays()
    arrays.pop("ema/logits/bias")
    with pytest.raises(ValueError, match="ema/logits/bias"):
        backend.load_arrays(arrays)


def test_a_state_comes_back_as_it_was(config):
    rng = np.random.default_rng(0)
    backend = make_backend(config)
    state = {
        name: (100 * rng.random(array.shape)).astype(array.dtype)
        for name, array in backend.arrays().items()
    }
    other = make_backend(config)
    other.load_arrays(state)
    loaded = other.arrays()
    assert list(loaded) == list(state)
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_ema_follows_weights_and_batch_norm_statistics_with_the_ramp(batches, config):
    backend = make_backend(config)
    names = ("logits/kernel", "stem_0_bn/moving_mean")
    average = {name: backend.arrays()[f"ema/{name}"] for name in names}
    for step, batch in enumerate(batches):
        backend.train_step(batch)
        arrays = backend.arrays()
        decay = min(config.optimizer.ema_decay, (1 + step) / (10 + step))
        for name in names:
            value = arrays[f"model/{name}"]
            average[name] = decay * average[name] + (1 - decay) * value
            np.testing.assert_allclose(
                arrays[f"ema/{name}"], average[name], rtol=1e-4, atol=1e-6
            )


def test_without_an_average_the_last_weights_are_evaluated(config):
    plain = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, batch_norm_momentum=0.9),
        optimizer=dataclasses.replace(config.optimizer, ema_decay=0.0),
    )
    backend = make_backend(plain)
    images = tf.zeros([4, 32, 32, 3], tf.uint8)
    for _ in range(2):
        backend.train_step({"image": images, "target": tf.fill([4, 3], 1 / 3)})
    arrays = backend.arrays()
    averages = [name for name in arrays if name.startswith("ema/")]
    assert len(averages) > 50
    for name in averages:
        np.testing.assert_array_equal(
            arrays[name], arrays[name.replace("ema/", "model/")]
        )


def test_the_average_starts_where_the_weights_start(config):
    model, average = (trainer.build(config, num_classes=3) for _ in "12")
    model.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
    arrays = TensorFlowBackend(model, average, config).arrays()
    np.testing.assert_array_equal(arrays["ema/logits/bias"], [1.0, 2.0, 3.0])


def test_weight_decay_covers_all_but_the_scales_and_offsets_of_batch_norm(config):
    backend = make_backend(
        dataclasses.replace(config, model=ModelConfig(name="resnet_rs_50"))
    )
    decayed = sum(
        array.size
        for name, array in backend.arrays().items()
        if name.startswith("velocity/") and losses.is_decayed(name)
    )
    # The published count at 1000 classes, without the 2 x 26,688 scales and offsets of
    # batch-norm and the 2,049 weights of each of 997 classes in the head.
    assert decayed == 35_691_912 - 2 * 26_688 - 997 * 2_049


def values(model, prefix):
    return {
        name: np.array(variable)
        for name, variable in factory.named_variables(model).items()
        if name.startswith(prefix)
    }


def test_frozen_stages_stay_as_they_are(config, batches):
    model = trainer.build(config, num_classes=3)
    factory.freeze(model, stages=3)
    frozen = {name: values(model, name) for name in ("stem", "stage1", "stage3")}
    before = {name: values(model, name) for name in ("stage4", "logits")}
    backend = TensorFlowBackend(model, trainer.build(config, num_classes=3), config)
    for batch in batches[:2]:  # The learning rate of the first step is 0.
        backend.train_step(batch)
    for prefix, old in frozen.items():
        assert old
        for name, value in values(model, prefix).items():
            np.testing.assert_array_equal(value, old[name])
    for prefix, old in before.items():
        assert any(
            (value != old[n]).any() for n, value in values(model, prefix).items()
        )


def test_nothing_is_frozen_unless_asked(config):
    model = trainer.build(config, num_classes=3)
    count = len(model.trainable_variables)
    factory.freeze(model, stages=0)
    assert len(model.trainable_variables) == count


@pytest.mark.parametrize("name", ["resnet_rs_14", "EfficientNetLite0"])
def test_frozen_batch_norm_keeps_weights_and_statistics(config, batches, name):
    model_config = dataclasses.replace(config.model, name=name)
    config = dataclasses.replace(config, model=model_config)
    model = trainer.build(config, num_classes=3)
    factory.freeze_batch_norm(model)
    before = values(model, "")
    backend = TensorFlowBackend(model, trainer.build(config, num_classes=3), config)
    for batch in batches[:2]:
        backend.train_step(batch)
    after = values(model, "")
    kept = {n for n, value in before.items() if np.array_equal(value, after[n])}
    of_batch_norm = {
        name
        for name in before
        if name.rpartition("/")[2]
        in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    assert of_batch_norm
    assert of_batch_norm <= kept
    assert any("kernel" in name for name in before.keys() - kept)
