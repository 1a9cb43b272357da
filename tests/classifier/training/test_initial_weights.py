import dataclasses
import functools
import re

import h5py
import numpy as np
import pytest
import tensorflow as tf

from classifier.models import factory
from classifier.models.config import ModelConfig
from classifier.training import initial_weights
from tests.conftest import CLASS_NAMES, export

SLOW = pytest.mark.slow


def build_reference(depth, size, num_classes):
    """A published network with its own random weights."""
    import tf_keras

    return getattr(tf_keras.applications.resnet_rs, f"ResNetRS{depth}")(
        weights=None,
        classes=num_classes,
        input_shape=(size, size, 3),
        classifier_activation=None,
    )


def randomize(reference, seed=0):
    """Gives a published network random weights, batch-norm statistics included."""
    rng = np.random.default_rng(seed)
    for weight in reference.weights:
        name, shape = weight.name, tuple(weight.shape)
        if "moving_variance" in name:
            value = rng.uniform(0.5, 1.5, shape)
        elif "batch_norm_3/gamma" in name:
            value = rng.uniform(0.1, 0.3, shape)  # Keeps activations near 1.
        elif "gamma" in name:
            value = rng.uniform(0.5, 1.5, shape)
        elif "kernel" in name:
            value = rng.normal(0, np.sqrt(1 / np.prod(shape[:-1])), shape)
        else:
            value = rng.normal(0, 0.2, shape)
        weight.assign(value.astype(np.float32))
    return reference


@pytest.fixture(
    scope="module",
    params=[
        (50, 160),
        # No parity or padding differs from that of 160 px.
        pytest.param((50, 224), marks=SLOW),
        pytest.param((101, 160), marks=SLOW),
        pytest.param((101, 192), marks=SLOW),
        pytest.param((152, 192), marks=SLOW),
        pytest.param((152, 256), marks=SLOW),
    ],
    ids=lambda pair: "{}-{}".format(*pair),
)
def networks(request):
    """The published network, its fresh weights, ours, and images."""
    depth, size = request.param
    reference = build_reference(depth, size, num_classes=1000)
    model = factory.build_network(
        ModelConfig(name=f"resnet_rs_{depth}"), image_size=size, num_classes=1000
    )
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), np.uint8)
    return reference, reference.get_weights(), model, images


def logits_of_both(reference, model, images, directory):
    """Logits of the published network, and of ours with weights from its file."""
    reference.save_weights(directory / "weights.h5")
    take_over(model, directory / "weights.h5")
    expected = reference(images.astype(np.float32), training=False).numpy()
    return expected, model(images, training=False).numpy()


def test_fresh_weights_of_the_published_network_give_its_logits(networks, tmp_path):
    """To the bit: at depth 152 a difference in the last one would reach thousands."""
    reference, fresh, model, images = networks
    reference.set_weights(fresh)
    expected, logits = logits_of_both(reference, model, images, tmp_path)
    np.testing.assert_array_equal(logits, expected)


def test_the_network_is_the_published_function(networks, tmp_path):
    """Logits of `tf_keras.applications.resnet_rs`, its weights read from its file."""
    reference, _, model, images = networks
    expected, logits = logits_of_both(randomize(reference), model, images, tmp_path)
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def take_over(model, path, *, new_head=False):
    initial_weights.load(
        model, f"resnet_rs_h5:{path}", class_names=CLASS_NAMES, new_head=new_head
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The weights file of a published network of 50 layers and three classes."""
    path = tmp_path_factory.mktemp("reference") / "weights.h5"
    randomize(build_reference(50, 64, num_classes=3)).save_weights(path)
    return path


@pytest.fixture(scope="module")
def build():
    """Returns a network with its fresh weights: the same network for the same name."""

    @functools.cache
    def build_once(name, num_classes):
        model = factory.build_network(
            ModelConfig(name=name), image_size=32, num_classes=num_classes
        )
        return model, model.get_weights()

    def build(name="resnet_rs_50", num_classes=3):
        model, fresh = build_once(name, num_classes)
        model.set_weights(fresh)
        return model

    return build


@pytest.mark.parametrize(
    ("name", "num_classes", "named"),
    [
        ("resnet_rs_53", 3, r"stage3_block7_reduce_conv/kernel\b.*\bnone"),
        ("resnet_rs_26", 3, r"stage1_block3_\w+/\w+"),
        ("resnet_rs_50", 5, r"logits/kernel\b.*\(2048, 5\).*\(2048, 3\).*--new_head"),
    ],
)
def test_a_file_of_another_network_names_the_tensor(
    build, reference, name, num_classes, named
):
    model = build(name, num_classes)
    before = model.get_weights()
    with pytest.raises(ValueError, match=named):
        take_over(model, reference)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_new_head_is_fresh_and_all_else_is_taken_over(build, reference):
    model, same = build(num_classes=5), build(num_classes=3)
    heads = weights(model)
    take_over(model, reference, new_head=True)
    take_over(same, reference)
    bodies = weights(same)
    for path, value in weights(model).items():
        expected = heads if path.startswith("logits") else bodies
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


def weights(model):
    return {v.path: np.array(v) for v in model.variables if v.dtype == "float32"}


def test_a_file_without_a_head_needs_a_new_one(build, tmp_path):
    import tf_keras

    headless = tf_keras.applications.resnet_rs.ResNetRS50(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    headless.save_weights(tmp_path / "notop.h5")
    with pytest.raises(ValueError, match=r"logits/kernel\b.*\bnone\b.*--new_head"):
        take_over(build(), tmp_path / "notop.h5")
    take_over(build(), tmp_path / "notop.h5", new_head=True)


def test_a_saved_model_of_the_old_format_is_read_too(build, tmp_path, reference):
    model = randomize(build_reference(50, 64, num_classes=3))
    with pytest.warns(UserWarning):
        model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        file["optimizer_weights/momentum"] = np.zeros(3)
    found = []
    for path in (tmp_path / "model.h5", reference):
        ours = build()
        take_over(ours, path)
        found.append(ours.get_weights())
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("stem_1_stem_conv_1/kernel:0", "stem_0_conv/kernel"),
        ("stem_7_stem_conv_4/kernel:0", "stem_pool_conv/kernel"),
        (
            "BlockGroup2__block_0_batch_norm_1/gamma:0",
            "stage1_block1_reduce_bn/gamma",
        ),
        (
            "g/BlockGroup5__block_12__batch_norm_3/moving_mean:0",
            "stage4_block13_expand_bn/moving_mean",
        ),
        ("predictions/predictions/bias:0", "logits/bias"),
        ("block1a_conv/kernel:0", "block1a_conv/kernel:0"),
    ],
)
def test_names_of_published_tensors(name, ours):
    assert initial_weights.variable_name(name) == ours


def test_a_file_that_is_no_hdf5_is_refused(build, tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"weights\.h5\b.*HDF5"):
        take_over(build(), tmp_path / "weights.h5")
    with pytest.raises(FileNotFoundError, match=r"missing\.h5"):
        take_over(build(), tmp_path / "missing.h5")


def test_a_classifier_of_ours_is_taken_over_to_the_bit(exported, config):
    directory, trained = exported
    model = factory.build_network(config.model, image_size=48, num_classes=3, seed=9)
    initial_weights.load(model, str(directory), class_names=CLASS_NAMES, new_head=False)
    for path, value in weights(trained).items():
        np.testing.assert_array_equal(value, weights(model)[path], err_msg=path)


def test_a_classifier_of_other_classes_needs_a_new_head(exported, config):
    directory, trained = exported
    model = factory.build_network(config.model, image_size=32, num_classes=2, seed=9)
    arguments = {"class_names": ("x", "y")}
    with pytest.raises(ValueError, match=r"\b3\b.*\b2\b.*--new_head"):
        initial_weights.load(model, str(directory), new_head=False, **arguments)
    initial_weights.load(model, str(directory), new_head=True, **arguments)
    assert model.output_shape == (None, 2)
    np.testing.assert_array_equal(
        weights(model)["stem_0_conv/kernel"], weights(trained)["stem_0_conv/kernel"]
    )


def test_another_network_than_the_classifier_names_the_tensor(build, exported):
    directory, _ = exported
    named = r"stem_0_conv/kernel\b.*\(3, 3, 3, 32\).*\(3, 3, 3, 2\)"
    with pytest.raises(ValueError, match=named):
        initial_weights.load(
            build(), str(directory), class_names=CLASS_NAMES, new_head=False
        )


def test_other_networks_of_ours_are_taken_over_by_position(build, tmp_path, config):
    other = dataclasses.replace(config, model=ModelConfig(name="MobileNet"))
    directory, trained = export(tmp_path / "other", other, seed=1)
    model = build("MobileNet")
    initial_weights.load(model, str(directory), class_names=CLASS_NAMES, new_head=False)
    images = tf.constant(
        np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    )
    np.testing.assert_array_equal(
        model(images, training=False), trained(images, training=False)
    )
    assert all(re.match(r"\d{4}/", name) for name in factory.named_variables(model))


def test_an_hdf5_file_that_claims_more_than_it_holds_is_refused(build, tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x/kernel:0", shape=(10**12,), dtype="f4", chunks=(2**20,))
    with pytest.raises(ValueError, match=r"x/kernel:0.*1000000000000"):
        take_over(build(), path)


def test_an_hdf5_file_does_not_lead_to_another(build, tmp_path, reference):
    path = tmp_path / "weights.h5"
    (tmp_path / "secret").write_bytes(bytes(4000))
    with h5py.File(path, "w") as file:
        secret = [(str(tmp_path / "secret"), 0, 4000)]
        file.create_dataset("x/kernel:0", (1000,), "f4", external=secret)
    with pytest.raises(ValueError, match=r"x/kernel:0"):
        take_over(build(), path)
    with h5py.File(path, "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(reference), "/")
    with pytest.raises(ValueError, match=r"stem_0_conv/kernel.*none"):
        take_over(build(), path)
