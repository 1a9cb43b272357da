"""Features of KerasHub's presets, beside KerasHub on the same images."""

import numpy as np
import pytest

from classifier.export.saved_model import read_ensemble_facts
from classifier.features.opening import open_features
from classifier.inference.ensemble import Classifier
from tests.classifier.features.probes import export, make_head
from tests.images import random_images

keras_hub = pytest.importorskip("keras_hub")
models = keras_hub.models
VIT = {"image_shape": (32, 32, 3), "patch_size": 8, "num_layers": 1, "num_heads": 2}


def resnet():
    return models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )


def vit(**more):
    return models.ViTBackbone(hidden_dim=16, mlp_dim=16, **VIT, **more)


def vit_without_token():
    return vit(use_class_token=False)


def clip():
    encoder = {
        "hidden_dim": 16,
        "num_layers": 1,
        "num_heads": 2,
        "intermediate_dim": 16,
        "intermediate_activation": "quick_gelu",
    }
    image = models.CLIPVisionEncoder(patch_size=8, image_shape=(32, 32, 3), **encoder)
    text = models.CLIPTextEncoder(
        vocabulary_size=20, embedding_dim=16, max_sequence_length=8, **encoder
    )
    return models.CLIPBackbone(image, text, projection_dim=12)


#: Networks, and what is taken of their outputs.
NETWORKS = {
    resnet: lambda network, x: np.mean(network(x), axis=(1, 2)),
    vit: lambda network, x: np.asarray(network(x))[:, 0],
    vit_without_token: lambda network, x: np.mean(network(x), axis=1),
    clip: lambda network, x: np.asarray(network.get_vision_embeddings(x)),
}
SCALE, OFFSET = [1 / 127.5, 1 / 100, 1 / 50], [-1.0, -0.5, 0.25]


def save(network, path, **settings):
    """Writes a preset; returns its converter."""
    path.mkdir()
    network.save_to_preset(str(path))
    converter = keras_hub.layers.ImageConverter(**settings)
    converter.save_to_preset(str(path))
    return converter


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_features_are_what_keras_hub_gives(make, tmp_path):
    network, lines = make(), []
    save(
        network,
        tmp_path / "preset",
        image_size=(32, 32),
        scale=SCALE,
        offset=OFFSET,
        interpolation="bicubic",
    )
    source = open_features(f"keras_hub:{tmp_path}/preset", log=lines.append)
    assert lines == []
    assert source.image.size == 32
    assert source.image.interpolation == "bicubic"
    extractor = source.load()
    pixels = extractor.preprocess(random_images(5, 2))
    scaled = (pixels * np.array(SCALE) + np.array(OFFSET)).astype(np.float32)
    expected = NETWORKS[make](network, scaled)
    assert source.size == expected.shape[1]
    np.testing.assert_allclose(extractor(pixels), expected, rtol=1e-3, atol=1e-4)


def test_a_classifier_is_features_and_head(tmp_path):
    save(vit(), tmp_path / "preset", image_size=(32, 32))
    source = open_features(f"keras_hub:{tmp_path}/preset")
    head = make_head(source.size)
    directory = export(source, tmp_path / "probe", head)
    (facts,) = read_ensemble_facts([directory])
    assert facts.features == source.fingerprint
    images = random_images(5, 2)
    classifier = Classifier(directory)
    pixels = classifier.preprocess(images)
    expected = source.load()(pixels) @ head.kernel + head.bias
    np.testing.assert_allclose(classifier.logits(pixels), expected, atol=1e-3)


def test_settings_of_the_user_come_first(tmp_path):
    save(resnet(), tmp_path / "preset", scale=1 / 255)
    spec, lines = f"keras_hub:{tmp_path}/preset", []
    with pytest.raises(ValueError, match=r"--set=image\.size=224"):
        open_features(spec)
    source = open_features(spec, ["image.size=48", "pixel_mean=1,1,1"], lines.append)
    assert source.image.size == 48
    assert open_features(spec, ["image.size=48"]).fingerprint != source.fingerprint
    with pytest.raises(ValueError, match="no setting layout"):
        open_features(spec, ["layout=nchw"])
    fixed = tmp_path / "fixed"
    save(vit(), fixed)
    with pytest.raises(ValueError, match="images of 32 pixels"):
        open_features(f"keras_hub:{fixed}", ["image.size=64"])


def test_of_images_that_keras_hub_squeezes_all_is_seen(tmp_path):
    save(vit(), tmp_path / "preset", image_size=(32, 32), crop_to_aspect_ratio=False)
    lines = []
    source = open_features(f"keras_hub:{tmp_path}/preset", log=lines.append)
    assert (source.image.crop_fraction, lines) == (1.0, [])


def test_what_is_no_preset_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"class_name": "Layer", "config": {}}')
    for spec in (f"keras_hub:{tmp_path}", "keras_hub:no_such_preset"):
        with pytest.raises((ValueError, OSError), match=spec) as caught:
            open_features(spec)
        assert "\n" not in str(caught.value)
