import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from classifier.export import model_card
from classifier.export.facts import CLASSIFIER
from classifier.inference import conversion
from stage import artifact, licenses
from stage.licenses import Origin
from tests import calibrations
from tests.images import random_images
from tests.json_files import read_json

WEIGHTS = Origin(kind="weights", name="hf:me/net", license="Apache-2.0")


@pytest.fixture
def classifier(exported, tmp_path):
    """A copy of a classifier, to change."""
    return shutil.copytree(exported[0], tmp_path / "classifier")


def programs(card):
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def change(path, **fields):
    artifact.write_json(path, {**read_json(path), **fields})


def test_a_card_says_what_the_files_say(classifier):
    licenses.write(classifier, (WEIGHTS,))
    model_card.write(classifier)
    card = (classifier / artifact.CARD).read_text()
    facts = read_json(classifier / CLASSIFIER)
    assert "Image classifier of 3 classes" in card
    assert "resnet\\_rs\\_14 of 0.0625 times the width" in card
    assert f"with {facts['num_parameters']:,} parameters" in card
    assert "| images evaluated | 4 |" in card
    assert "| accuracy on them | 50.00% |" in card
    assert "32 x 32 pixels" in card
    assert "6 steps of 4 images" in card
    assert "| weights | hf:me/net | Apache-2.0 |" in card
    assert [f"| {i} | {name} |" in card for i, name in enumerate("abc")] == [True] * 3


def test_the_width_of_a_network_that_has_none_is_not_stated(classifier):
    config = read_json(classifier / artifact.CONFIG)
    model = {**config["config"]["model"], "name": "EfficientNetLite0"}
    change(classifier / artifact.CONFIG, config={**config["config"], "model": model})
    card = model_card.make_card(classifier)
    assert "EfficientNetLite0 with" in card
    assert "times the width" not in card


def test_a_card_changes_neither_the_artifact_nor_itself(classifier):
    licenses.write(classifier, (WEIGHTS,))
    model_card.write(classifier)
    before = (classifier / artifact.CARD).read_bytes()
    model_card.write(classifier)
    assert (classifier / artifact.CARD).read_bytes() == before
    artifact.check_sizes(classifier)
    moved = classifier.rename(classifier.parent / "elsewhere")
    assert model_card.make_card(moved).encode() == before


def test_a_student_of_pseudo_labels_says_so(classifier):
    change(
        classifier / artifact.CONFIG,
        sizes={"labeled": 50, "pseudo_labeled": 1140},
        pseudo_labeled="a" * 64,
        initial_weights={"fingerprint": "b" * 64, "new_head": True},
        unlabeled={"num_files": 1},
        left_out={"fold": 0},
    )
    card = model_card.make_card(classifier)
    assert "50 labeled images and 1,140 records that a classifier labeled" in card
    assert "weights of another network and a new last layer" in card
    assert "images without labels" in card
    assert "left out" in card
    assert "no person has looked at them" in card


def test_what_an_earlier_version_or_no_training_wrote_is_described(classifier):
    artifact.write_json(classifier / artifact.CONFIG, {"probe": {"folds": 5}})
    change(
        classifier / CLASSIFIER, evaluation=None, num_parameters=None, network="onnx"
    )
    card = model_card.make_card(classifier)
    assert "tf.saved_model" not in card
    assert "no image was evaluated" in card
    assert "| artifact | .../" in card


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ({"spec": "hf:me/net", "sha256": "a"}, r", hf:me/net,"),
        ({"source": "onnx:a_b.onnx", "settings": {}}, r", onnx:a\\_b\.onnx,"),
        ({"classifier": "a" * 64}, ""),
    ],
)
def test_a_probe_says_what_its_network_and_its_last_layer_are(origin, name, classifier):
    features = {"fingerprint": "f", "size": 1280, "origin": origin}
    change(classifier / artifact.CONFIG, features=features, probe={"folds": 5})
    card = model_card.make_card(classifier)
    assert re.search(f"Its network{name} had been trained .* 1,280 features", card)
    assert "Only the last layer was fitted" in card
    assert "they were not calibrated" in card
    calibrations.write_own(classifier, 4.25)
    change(classifier / artifact.CONFIG, class_embeddings="e" * 64)
    card = model_card.make_card(classifier)
    assert "| temperature of its confidences | 4.25 |" in card
    assert "has learned from no labels" in card
    assert "`calibration/`" in card
    assert "they were not calibrated" not in card
    calibrations.write_own(classifier, 1.0)  # Of too few images to fit another.
    assert "they were not calibrated" in model_card.make_card(classifier)


def test_the_name_of_a_network_has_its_article(classifier):
    change(classifier / artifact.CONFIG, config={"model": {"name": "EfficientNetB0"}})
    assert "\nAn EfficientNetB0 " in model_card.make_card(classifier)


def test_a_broken_file_is_named(classifier):
    change(classifier / artifact.CONFIG, config={"num_steps": -1})
    with pytest.raises(ValueError, match=r"config\.json: config\.num_steps"):
        model_card.write(classifier)


@pytest.mark.parametrize("name", ["<b>|`x`", "\x1b[2J\u202e", "a\n\n# b"])
def test_names_of_classes_act_on_no_reader(name, classifier):
    change(classifier / CLASSIFIER, class_names=[name, "b", "c"])
    card = model_card.make_card(classifier)
    rows = card.split("## Classes\n")[1].splitlines()
    assert [row.count("|") for row in rows if row] == [3] * 5
    assert "<b>" not in card
    assert all(char == "\n" or char.isprintable() for char in card)


def test_very_many_classes_are_counted(classifier):
    change(classifier / CLASSIFIER, class_names=[str(i) for i in range(1003)])
    card = model_card.make_card(classifier)
    assert "the other 3 classes" in card
    assert "| 999 | 999 |" in card
    assert "| 1000 |" not in card


@pytest.mark.parametrize(
    ("of_facts", "of_calibration", "temperature"),
    [(1.0, None, 1.0), (2.0, None, 2.0), (1.0, 3.0, 3.0)],
)
def test_the_program_of_the_card_gives_the_probabilities(
    of_facts, of_calibration, temperature, classifier, capsys, tmp_path
):
    change(classifier / CLASSIFIER, temperature=of_facts)
    if of_calibration is not None:
        calibrations.write_own(classifier, of_calibration)
    card = model_card.make_card(classifier)
    program, *_ = programs(card)
    (image,) = random_images(1)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(image)
    program = program.replace("PATH/TO/THIS/DIRECTORY", str(classifier))
    exec(program.replace("photo.jpg", str(photo)), {})
    printed = capsys.readouterr().out.replace("[", "").replace("]", "")
    signature = tf.saved_model.load(str(classifier / "export")).signatures
    logits = signature["serving_default"](encoded=tf.constant([image]))["logits"]
    scaled = np.exp(logits.numpy()[0] / temperature)
    np.testing.assert_allclose(
        np.array(printed.split(), float), scaled / scaled.sum(), rtol=1e-3
    )


def test_each_format_answers_as_its_program_shows(
    classifier, tmp_path, capsys, monkeypatch
):
    change(classifier / CLASSIFIER, temperature=2.0)
    for name in ("NAME.keras", "NAME.onnx"):
        conversion.export(classifier, str(tmp_path / name))
    (tmp_path / "photo.jpg").write_bytes(random_images(1)[0])
    monkeypatch.chdir(tmp_path)
    _, photo, *others = programs(model_card.make_card(classifier))
    variables = {}
    exec(photo, variables)
    pixels = variables["pixels"]
    assert (pixels.shape, pixels.dtype) == ((1, 32, 32, 3), np.uint8)
    signatures = tf.saved_model.load(str(classifier / "export")).signatures
    logits = signatures["pixels"](pixels=tf.constant(pixels))["logits"].numpy()[0]
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert len(others) == 2
    for program in others:
        exec(program, variables)
        name, printed = capsys.readouterr().out.split(maxsplit=1)
        assert name == "abc"[logits.argmax()]
        found = re.findall(r"\d\.\d+(?:e-\d+)?", printed)
        np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-3)


def test_the_hub_reads_the_metadata(classifier):
    hub = pytest.importorskip("huggingface_hub")
    images = Origin(kind="images", name="hf:me/birds:train", license="Apache-2.0")
    licenses.write(classifier, (WEIGHTS, images))
    change(classifier / artifact.CONFIG, pseudo_labeled="a" * 64)
    found = hub.ModelCard(model_card.make_card(classifier, ["me/labels"])).data
    assert found.license == "apache-2.0"
    assert found.pipeline_tag == "image-classification"
    assert found.tags == ["keras", "noisy-student", "resnet_rs_14"]
    assert found.datasets == ["me/birds", "me/labels"]
    assert found.base_model == ["me/net"]
    (result,) = found.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.5)
    assert result.dataset_name == "4 images that it did not learn from"


def test_what_was_not_evaluated_states_no_accuracy(classifier):
    hub = pytest.importorskip("huggingface_hub")
    change(classifier / CLASSIFIER, evaluation=None)
    found = hub.ModelCard(model_card.make_card(classifier)).data
    assert found.eval_results is None
    assert found.license == "unknown"


def test_the_card_says_what_goes_in_and_out(classifier):
    card = model_card.make_card(classifier)
    assert "uint8 [B, 32, 32, 3], red, green, blue, **0 to 255**" in card
    assert "float32 [B, 3], in the order of the classes below" in card
