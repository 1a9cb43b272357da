"""ResNet-RS with published weights: of tf_keras, compared with it, and of timm."""

import functools
import json

import h5py
import numpy as np
import pytest
import safetensors.numpy

from classifier.data.config import ImageConfig
from classifier.models import factory
from classifier.models.config import IMAGENET_MEAN, IMAGENET_STDDEV, ModelConfig
from classifier.weights import published, resnet_rs, timm
from tests.classifier.weights import timm_networks
from tests.commands import ROOT

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
    weights = resnet_rs.open_hdf5(f"resnet_rs_h5:{path}", str(path))
    published.assign(model, weights, new_head=new_head)


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
        (
            "resnet_rs_53",
            3,
            r"resnet_rs_53\b.*=resnet_rs_50 --set=model.width_multiplier=1\b",
        ),
        (
            "MobileNet",
            3,
            r"MobileNet\b.*=resnet_rs_50 --set=model.width_multiplier=1\b",
        ),
        ("resnet_rs_50", 5, r"logits/kernel\b.*\(2048, 5\).*\(2048, 3\).*--new_head"),
    ],
)
def test_a_file_that_does_not_fit_names_the_network_or_tensor(
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
    assert resnet_rs.variable_name(name) == ours


RECORDED = json.loads((ROOT / "tests/data/timm_resnet_rs.json").read_text())["logits"]


def write_timm(path, depth, **changes):
    """Writes the weights of `timm_networks` as timm does, some of them changed."""
    tensors = {**timm_networks.weights(depth), **changes}
    kept = {name: array for name, array in tensors.items() if array is not None}
    safetensors.numpy.save_file(kept, path)
    return f"safetensors:{path}", str(path)


def logits_of_timm(weights, size):
    model = factory.build_network(
        weights.model, image_size=size, num_classes=timm_networks.NUM_CLASSES
    )
    published.assign(model, weights)
    return np.asarray(model(timm_networks.images(size), training=False))


@pytest.mark.parametrize(
    "depth",
    [50, *(pytest.param(d, marks=SLOW) for d in timm_networks.BLOCKS if d != 50)],
)
def test_timms_weights_give_its_logits(depth, tmp_path):
    """Recorded from timm, with random statistics of batch normalization."""
    weights = timm.open_safetensors(*write_timm(tmp_path / "weights", depth))
    assert weights.model.name == f"resnet_rs_{depth}"
    for size, expected in RECORDED[str(depth)].items():
        found = logits_of_timm(weights, int(size))
        assert np.std(expected) > 0.5
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_logits_depend_on_every_statistic(tmp_path):
    name = "layer3.2.bn2.running_mean"
    changed = timm_networks.weights(50)[name] + 0.5
    weights = timm.open_safetensors(
        *write_timm(tmp_path / "weights", 50, **{name: changed})
    )
    difference = logits_of_timm(weights, 96) - RECORDED["50"]["96"]
    assert np.abs(difference).max() > 1e-2


def test_preprocessing_is_what_timm_writes_beside_its_weights(tmp_path):
    file = write_timm(tmp_path / "model.safetensors", 50)
    plain = timm.open_safetensors(*file)
    assert plain.image == ImageConfig(size=160, antialias=True)
    assert plain.model == ModelConfig()
    config = {
        "architecture": "resnetrs50",
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "interpolation": "bilinear",
            "crop_pct": 0.91,
            "mean": [0.5, 0.5, 0.5],
            "std": IMAGENET_STDDEV,
            "license": "apache-2.0",
            "first_conv": "conv1.0",
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = timm.open_safetensors(*file)
    assert found.image == ImageConfig(
        size=224, crop_fraction=0.91, interpolation="bilinear", antialias=True
    )
    assert found.model == ModelConfig(pixel_mean=(0.5,) * 3)
    assert found.origin["license"] == "apache-2.0"
    assert found.origin["spec"] == "safetensors:model.safetensors"
    assert len(found.origin["sha256"]) == 64
    assert found.fingerprint == plain.fingerprint
    for wrong, named in (
        ({"architecture": "resnetrs101"}, "resnetrs50.*resnetrs101"),
        (
            {"pretrained_cfg": {"std": [0, 0, 0]}},
            r"config\.json: pretrained_cfg: .*std",
        ),
        (
            {"pretrained_cfg": {"input_size": [3]}},
            r"config\.json: pretrained_cfg.*\b3$",
        ),
        ({"pretrained_cfg": {"mean": list(IMAGENET_MEAN[:2])}}, "mean"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=named):
            timm.open_safetensors(*file)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"conv1.weight": np.zeros((64, 3, 7, 7), "f4")}, r'"conv1.weight".*64, 3, 7'),
        ({"layer1.0.conv1.weight": np.zeros((64, 64, 1, 1), "i4")}, "conv1.*int32"),
        ({"layer4.2.conv1.bias": np.zeros(9, "f4")}, r"stage4_block3_\w+/bias"),
        ({"layer4.3.conv1.weight": np.zeros((9, 9), "f4")}, r"\(3, 4, 6, 4\)"),
        ({"layer2.1.bn1.bias": None}, r"stage2_block2_reduce_bn/beta\b.*none"),
        ({"layer2.1.bn1.bias": np.zeros(7, "f4")}, r"stage2_block2_\w+/beta.*\(7,\)"),
        ({"layer2.1.bn1.bias": np.full(128, np.inf, "f4")}, "beta is not finite"),
    ],
)
def test_other_tensors_than_timms_are_named(build, changes, named, tmp_path):
    file = write_timm(tmp_path / "weights", 50, **changes)
    with pytest.raises(ValueError, match=named) as error:
        published.assign(build(num_classes=10), timm.open_safetensors(*file))
    assert "\n" not in str(error.value)
