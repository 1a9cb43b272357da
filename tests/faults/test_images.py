"""Odd and broken images in one folder, labeled by one job."""

import numpy as np
import pytest

from beam_jobs.labeling.model_handler import HandlerPredictor
from classifier.data import inspection
from classifier.data.examples import UNLABELED, Example
from classifier.data.sources import open_source
from classifier.inference import file_predictions
from classifier.inference.ensemble import Ensemble
from tests import chain, commands
from tests.faults import forms, handlers, images, job, page

REFUSED = [
    *("BMP with a palette", "GIF with transparent pixels", "WebP with alpha"),
    *("progressive JPEG with hundreds of scans", "PNG with many compressed texts"),
    *("GIF with a damaged byte", "WebP with a damaged byte"),
]
#: Bits of 64 by which the pictures of two decoders may differ.
SAME_PICTURE = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def rows(root, exported):
    """The row of each image, by folder and fault."""
    content = {"broken": images.BROKEN}
    content["odd"] = {fault: image for fault, (image, _) in images.ODD.items()}
    content["plain"] = {
        fault: images.plain(shown) for fault, (_, shown) in images.ODD.items()
    }
    for folder, files in content.items():
        (root / "in" / folder).mkdir(parents=True)
        for fault, image in files.items():
            # No decoder goes by names.
            (root / "in" / folder / f"{fault}.png").write_bytes(image)
    summary = job.label(
        f"folder:{root}/in",
        root / "out",
        lambda: job.settings(
            exported[0], max_pixels=images.MAX_PIXELS, max_bad_fraction=1.0
        ),
    )
    found = job.read_rows(root / "out")
    expected = sum(map(len, content.values()))
    assert f" of {expected} images (" in summary
    rows = {row["key"].removesuffix(".png"): row for row in found}
    assert len(rows) == len(found) == expected
    return rows


@page.holds(*images.BROKEN)
def test_a_broken_image_is_a_row_with_a_reason(fault, rows):
    found = rows[f"broken/{fault.name}"]
    assert found["status"] == fault.status != "ok"
    fault.check(found["error"])
    assert len(found["error"].splitlines()) == 1
    for column in ("label", "confidence", "top_labels", "top_probabilities"):
        assert found[column] is None


@page.holds(*images.ODD)
def test_an_odd_image_is_labeled_as_what_it_shows(fault, rows):
    found, plain = rows[f"odd/{fault.name}"], rows[f"plain/{fault.name}"]
    assert found["status"] == plain["status"] == fault.status == "ok"
    assert not found["error"]
    different = found["perceptual_hash"] ^ plain["perceptual_hash"]
    assert different.bit_count() <= SAME_PICTURE
    np.testing.assert_allclose(probabilities(found), probabilities(plain), atol=0.02)


@page.holds("dataset with an image that the program on its card cannot decode")
def test_verification_reads_images_as_the_card_does(fault, tmp_path):
    translucent = forms.REFUSED["WebP: alpha, lossless"][0]
    run = chain.make(tmp_path, images=[translucent] * 24)
    run.write()
    ended = commands.call("pseudo_label.verify", run.dataset)
    assert ended.returncode == 1
    fault.check(ended.stderr)


@pytest.mark.parametrize("name", REFUSED)
def test_prediction_and_handlers_refuse_what_labeling_does(
    name, rows, tmp_path, exported
):
    (tmp_path / "0.png").write_bytes(images.BROKEN[name])
    found, expected = rows[f"broken/{name}"], []
    files = file_predictions.list_images([str(tmp_path)])
    ensemble = Ensemble([exported[0]])
    (predicted,) = file_predictions.predict_files(ensemble, files, top_k=1)
    expected.append((predicted.status, predicted.error))
    handler = HandlerPredictor(handlers.Fixed(), num_classes=3)
    decoded = handler.decode([Example(b"0", images.BROKEN[name], UNLABELED)])
    expected.append((decoded.status[0], decoded.error[0]))
    assert expected == [(found["status"], found["error"])] * 2


@pytest.mark.parametrize("name", REFUSED)
def test_training_refuses_what_labeling_does(name, rows, tmp_path):
    for folder, image in {"a": images.jpeg(), "b": images.BROKEN[name]}.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.png").write_bytes(image)
    with pytest.raises(ValueError) as refused:
        inspection.inspect(open_source(f"folder:{tmp_path}"), for_training=True)
    assert f"b/0.png: {rows[f'broken/{name}']['error']}" in str(refused.value)


def test_the_program_of_the_page_lists_the_broken_images(root, rows, capsys):
    program = page.read_program()
    assert program.count("runs/birds/predictions/") == 1
    exec(program.replace("runs/birds/predictions/", f"{root}/out/"), {})
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(images.BROKEN)
    assert all("'key': 'broken/" in line for line in listed)


def probabilities(row):
    order = np.argsort(row["top_labels"])
    return np.array(row["top_probabilities"])[order]
