"""Features of ONNX files, beside ONNX Runtime on the same file."""

import hashlib
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from classifier.export.facts import read_facts
from classifier.export.head import read_head
from classifier.export.saved_model import embedding_size, read_ensemble_facts
from classifier.features.graph_config import read_settings
from classifier.features.opening import open_features
from classifier.inference.ensemble import Classifier
from stage import licenses
from tests.classifier.features.onnx_models import (
    FEATURES,
    SIDE,
    make_network,
    write,
)
from tests.classifier.features.probes import export, make_head
from tests.images import random_images

MEAN, STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def images():
    return random_images(11, 50)


def scaled(pixels, mean=MEAN, stddev=STDDEV):
    """What the network was trained on, by NumPy."""
    return ((pixels / 255 - np.array(mean)) / np.array(stddev)).astype(np.float32)


def run_file(path, batch, output="features"):
    """An output of ONNX Runtime for the network's own input."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: batch})[0]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_features_are_what_onnx_runtime_gives(tmp_path, images, layout, opset):
    path = write(tmp_path / "network.onnx", layout=layout, opset=opset)
    source = open_features(f"onnx:{path}")
    assert (source.size, source.image.size) == (FEATURES, SIDE)
    extractor = source.load()
    pixels = extractor.preprocess(images)
    batch = scaled(pixels)
    expected = run_file(
        path, batch.transpose(0, 3, 1, 2) if layout == "nchw" else batch
    )
    found = extractor(pixels)
    assert found.dtype == np.float32
    close(found, expected)
    np.testing.assert_array_equal(extractor(pixels[3:4])[0], found[3])


def test_settings_of_the_user_come_first(tmp_path, images):
    path = write(tmp_path / "network.onnx", side="S")
    lines = []
    with pytest.raises(ValueError, match=r"--set=image\.size=224"):
        open_features(f"onnx:{path}")
    source = open_features(
        f"onnx:{path}",
        [
            *("image.size=48", "pixel_mean=0.5,0.4,0.3", "pixel_stddev=1,0.5,0.25"),
            *("channel_order=bgr", "image.crop_fraction=1"),
        ],
        lines.append,
    )
    (line,) = lines
    assert "interpolation=bicubic" in line
    assert not any(known in line for known in ("mean", "order", "crop", "size"))
    extractor = source.load()
    pixels = extractor.preprocess(images)
    assert pixels.shape == (11, 48, 48, 3)
    batch = scaled(pixels[..., ::-1], (0.5, 0.4, 0.3), (1, 0.5, 0.25))
    close(extractor(pixels), run_file(path, batch.transpose(0, 3, 1, 2)))


def test_a_preprocessor_config_is_obeyed(tmp_path, images):
    path = write(tmp_path / "network.onnx")
    settings = {
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.5, 1],
        "do_rescale": True,
        "rescale_factor": 1 / 127.5,
        "size": {"shortest_edge": 50},
        "crop_size": {"height": SIDE, "width": SIDE},
        "resample": 2,
        "image_processor_type": "CLIPImageProcessor",
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    lines = []
    source = open_features(f"onnx:{path}", log=lines.append)
    assert lines == []
    assert source.image.crop_fraction == SIDE / 50
    assert source.image.interpolation == "bilinear"
    extractor = source.load()
    pixels = extractor.preprocess(images)
    batch = (pixels / 127.5 - 0.5) / np.array([0.25, 0.5, 1])
    batch = batch.astype(np.float32).transpose(0, 3, 1, 2)
    close(extractor(pixels), run_file(path, batch))
    # The mean of a processor's class: not in the file, so it is assumed.
    bare = {"image_processor_type": "ViTImageProcessor", "size": SIDE, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(bare))
    source = open_features(f"onnx:{path}", log=lines.append)
    assert "assumed pixel_mean=0.485" in lines[0]
    close(source.load()(pixels), run_file(path, scaled(pixels).transpose(0, 3, 1, 2)))
    bare["do_normalize"] = False
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(bare))
    source = open_features(f"onnx:{path}")
    batch = (pixels / 255).astype(np.float32).transpose(0, 3, 1, 2)
    close(source.load()(pixels), run_file(path, batch))
    settings["resample"] = 1
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"preprocessor_config\.json: expected a res"):
        open_features(f"onnx:{path}")
    settings |= {"resample": 3, "crop_size": 32}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="images of 40 pixels"):
        open_features(f"onnx:{path}")


@pytest.mark.parametrize(("side", "fraction"), [(224, 0.875), (384, 1.0)])
def test_the_margin_of_convnext_depends_on_its_size(tmp_path, side, fraction):
    settings = {"size": {"shortest_edge": side}, "crop_pct": 0.875}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    found = read_settings(tmp_path, ()).config.image
    assert (found.size, found.crop_fraction) == (side, fraction)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.UINT8])
def test_other_types_of_input(tmp_path, images, dtype):
    path = write(tmp_path / "network.onnx", dtype=dtype)
    lines = []
    source = open_features(f"onnx:{path}", log=lines.append)
    assert ("pixel_mean" in lines[0]) == (dtype == TensorProto.FLOAT16)
    extractor = source.load()
    pixels = extractor.preprocess(images)
    batch = pixels if dtype == TensorProto.UINT8 else scaled(pixels).astype(np.float16)
    expected = run_file(path, np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(extractor(pixels), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("output", "pooling", "pool"),
    [
        ("map", "mean", lambda maps: maps.mean(axis=(2, 3))),
        ("tokens", "mean", lambda tokens: tokens.mean(axis=1)),
        ("tokens", "first", lambda tokens: tokens[:, 0]),
    ],
)
def test_outputs_that_are_no_vectors_are_pooled(
    tmp_path, images, output, pooling, pool
):
    path = write(tmp_path / "network.onnx", outputs=("map", "tokens"))
    with pytest.raises(ValueError, match=r"one output \[N,D\].*--set=output=NAME"):
        open_features(f"onnx:{path}")
    with pytest.raises(ValueError, match="pooling=auto: expected an output of 2 axes"):
        open_features(f"onnx:{path}", [f"output={output}"])
    source = open_features(f"onnx:{path}", [f"output={output}", f"pooling={pooling}"])
    extractor = source.load()
    pixels = extractor.preprocess(images)
    batch = scaled(pixels).transpose(0, 3, 1, 2)
    close(extractor(pixels), pool(run_file(path, batch, output)))


@pytest.mark.parametrize("opset", [7, 8])
def test_a_head_can_normalize_in_early_versions_of_onnx(tmp_path, images, opset):
    source = open_features(f"onnx:{write(tmp_path / 'network.onnx', opset=opset)}")
    head = make_head(source.size, normalize=True)
    export(source, tmp_path / "probe", head)
    classifier = Classifier(tmp_path / "probe", embeddings=True)
    logits, embeddings = classifier.outputs(classifier.preprocess(images))
    close(logits, head.logits(embeddings))


def test_an_origin_names_the_file_and_its_bytes(tmp_path):
    path = write(tmp_path / "network.onnx")
    source = open_features(f"onnx:{path}")
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    assert (source.origin["file"], source.origin["sha256"]) == ("network.onnx", digest)
    (origin,) = licenses.trace(source.spec, source.origin)
    assert (origin.fingerprint, origin.name) == (
        digest,
        licenses.public_name(source.spec),
    )


@pytest.mark.parametrize("batch", ["N", 2])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_classifier_is_features_and_head(tmp_path, images, normalize, batch):
    # The names of a classifier's own tensors may be the file's, too.
    path = write(tmp_path / "their.onnx", names=("logits", "embedding"), batch=batch)
    source = open_features(f"onnx:{path}")
    head = make_head(source.size, normalize=normalize)
    export(source, tmp_path / "probe", head)
    (facts,) = read_ensemble_facts([tmp_path / "probe"])
    assert facts.features == source.fingerprint
    assert embedding_size(tmp_path / "probe") == FEATURES
    classifier = Classifier(tmp_path / "probe", embeddings=True)
    pixels = classifier.preprocess(images)
    np.testing.assert_array_equal(pixels, source.load().preprocess(images))
    one_by_one = scaled(pixels).transpose(0, 3, 1, 2)
    whole = np.concatenate([one_by_one, one_by_one[:1]])
    pairs = [run_file(path, whole[i : i + 2], "embedding") for i in range(0, 12, 2)]
    features = np.concatenate(pairs)[:11]
    logits, embedding = classifier.outputs(pixels)
    close(embedding, features)
    if normalize:
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    close(logits, features @ head.kernel + head.bias)
    stored = read_head(tmp_path / "probe", facts)
    np.testing.assert_array_equal(stored.kernel, head.kernel)
    close(stored.logits(embedding), logits)


def test_a_classifier_is_a_source_again(tmp_path, images):
    source = open_features(f"onnx:{write(tmp_path / 'network.onnx')}")
    export(source, tmp_path / "first", make_head(source.size, normalize=True))
    again = open_features(str(tmp_path / "first"))
    assert (again.size, again.fingerprint) == (source.size, source.fingerprint)
    pixels = source.load().preprocess(images)
    np.testing.assert_array_equal(again.load()(pixels), source.load()(pixels))
    export(again, tmp_path / "second", make_head(source.size))
    facts = read_facts(tmp_path / "second")
    assert facts.features == source.fingerprint
    assert facts.fingerprint != read_facts(tmp_path / "first").fingerprint
    export(again, tmp_path / "third", make_head(source.size, normalize=True))
    assert (tmp_path / "third" / "network.onnx").read_bytes() == (
        tmp_path / "first" / "network.onnx"
    ).read_bytes()
    cropped = open_features(str(tmp_path / "first"), ["image.crop_fraction=0.5"])
    assert cropped.fingerprint != source.fingerprint
    with pytest.raises(ValueError, match="images of 40 pixels"):
        open_features(str(tmp_path / "first"), ["image.size=64"])


def test_multiply_adds_are_those_of_network_and_head(tmp_path):
    source = open_features(f"onnx:{write(tmp_path / 'network.onnx')}")
    export(source, tmp_path / "probe", make_head(FEATURES))
    facts = read_facts(tmp_path / "probe")
    outputs = (SIDE // 2 - 1) ** 2  # Of a kernel of 3x3 pixels with a stride of 2.
    of_image = outputs * 5 * 27 + 5 * FEATURES + FEATURES * 3
    assert facts.image_multiply_adds == facts.multiply_adds == of_image
    assert not facts.is_uncounted


def test_tensors_in_a_file_beside_it_are_read_into_one(tmp_path, images):
    one = open_features(f"onnx:{write(tmp_path / 'one.onnx')}")
    (tmp_path / "two").mkdir()
    path = tmp_path / "two" / "network.onnx"
    onnx.save(
        make_network(),
        str(path),
        save_as_external_data=True,
        location="network.data",
        size_threshold=0,
    )
    assert (tmp_path / "two" / "network.data").exists()
    two = open_features(f"onnx:{path}")
    pixels = one.load().preprocess(images)
    np.testing.assert_array_equal(one.load()(pixels), two.load()(pixels))
    export(two, tmp_path / "probe", make_head(two.size))
    assert not list((tmp_path / "probe").glob("*.data"))
    read_ensemble_facts([tmp_path / "probe"])


def test_a_graph_that_was_exported_for_one_image_is_refused(tmp_path):
    """Its shape says any number, but a constant inside says one."""
    model = make_network()
    constant = helper.make_tensor("one", TensorProto.INT64, [2], [1, FEATURES])
    model.graph.initializer.append(constant)
    model.graph.node.append(helper.make_node("Reshape", ["features", "one"], ["y"]))
    model.graph.output[0].name = "y"
    with pytest.raises(ValueError, match="ONNX Runtime cannot run it"):
        open_features(f"onnx:{write(tmp_path / 'network.onnx', model)}")


def test_what_is_no_network_of_images_is_refused(tmp_path):
    path = tmp_path / "network.onnx"
    write(path)
    with pytest.raises(ValueError, match=r"setting 'pixel_men'.*pixel_mean"):
        open_features(f"onnx:{path}", ["pixel_men=0,0,0"])
    with pytest.raises(ValueError, match="pixel_stddev must be three numbers"):
        open_features(f"onnx:{path}", ["pixel_stddev=0,1,1"])
    with pytest.raises(ValueError, match=r"got image\.size=64"):
        open_features(f"onnx:{path}", ["image.size=64"])
    with pytest.raises(ValueError, match="expected an output of"):
        open_features(f"onnx:{path}", ["output=none"])
    with pytest.raises(ValueError, match="expected features as"):
        open_features("torch:network.pt")
    with pytest.raises(FileNotFoundError):
        open_features(f"onnx:{tmp_path}/none.onnx")
    write(path, side=3)
    with pytest.raises(ValueError, match="three channels"):
        open_features(f"onnx:{path}")
    model = onnx.load(str(path))
    model.graph.input.append(
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["N"])
    )
    write(path, model)
    with pytest.raises(ValueError, match="export the part of the network"):
        open_features(f"onnx:{path}")
