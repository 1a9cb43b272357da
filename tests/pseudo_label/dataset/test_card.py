import dataclasses
import io
import re

import pytest
from PIL import Image

from pseudo_label.dataset import card
from pseudo_label.selection.decision import PrecisionEstimate
from pseudo_label.selection.precision import Precision
from stage import artifact, licenses
from stage.licenses import Origin
from stage.markdown import escape
from tests import chain
from tests.faults import forms
from tests.pseudo_label.dataset import test_records
from tests.pseudo_label.dataset.spoiling import verify


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = chain.make(tmp_path_factory.mktemp("card"), threshold=0.6)
    job = found.write()
    return found, job


@pytest.fixture(scope="module")
def job(made):
    return made[1]


def make_card(job, *, round_number=1, num_shards=6, ledger=None, **selection):
    """The card of a job, with some fields of the selection replaced."""
    return card.make_card(
        dataclasses.replace(job.selection, **selection),
        job.predictions,
        round_number=round_number,
        num_shards=num_shards,
        num_bytes=12345,
        ledger=ledger,
    )


def table(text, title):
    """The rows of the table below a title, as lists of cells."""
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[2:]]


def test_the_classes_are_those_of_the_selection(job):
    rows = table(make_card(job), "Classes")
    rules = job.selection.classes
    assert [row[1] for row in rows] == ["ant", "bee &#124; wasp", "cat &lt;img&gt;"]
    assert [[int(row[i]) for i in (0, 2, 3)] for row in rows] == [
        [label, rule.unique, rule.records] for label, rule in enumerate(rules)
    ]
    assert [float(row[4]) for row in rows] == [
        pytest.approx(rule.cut_off.confidence, abs=1e-4) for rule in rules
    ]


def test_a_class_without_images_has_no_confidence(job):
    first, *others = job.selection.classes
    empty = dataclasses.replace(
        first, unique=0, records=0, cut_off=None, extra_cut_off=None
    )
    text = make_card(job, classes=(empty, *others))
    assert table(text, "Classes")[0] == ["0", "ant", "0", "0", ""]
    assert "1 class has none" in text


def test_the_funnel_and_the_settings_are_complete(job):
    text = make_card(job)
    funnel = dataclasses.asdict(job.selection.funnel)
    assert [row[1] for row in table(text, "Where the images went")] == [
        f"{count:,}" for count in funnel.values()
    ]
    settings = dict(table(text, "How they were chosen"))
    assert settings["thresholds.values"] == "0.6"
    assert settings["max\\_copies"] == "3"
    assert settings["duplicate\\_bits"] == "none"
    assert settings["fingerprint of a teacher"] == "0123abc"


def test_thresholds_of_all_classes_are_counted_only(job):
    settings = job.selection.settings
    thresholds = dataclasses.replace(settings.thresholds, values=(0.5,) * 1000)
    text = make_card(job, settings=dataclasses.replace(settings, thresholds=thresholds))
    assert dict(table(text, "How they were chosen"))["thresholds.values"] == (
        "1,000 values"
    )


def test_limits_depend_on_what_is_known(job):
    text = make_card(job)
    assert "How many are wrong is not known" in text
    assert "was not calibrated" in text
    kept = Precision(estimate=0.97, low=0.95, high=0.98, images=400, right=388)
    estimate = PrecisionEstimate(kind="held_out", above_threshold=kept, kept=kept)
    predictions = dataclasses.replace(job.predictions, temperature=1.5)
    calibrated = dataclasses.replace(job, predictions=predictions)
    text = make_card(calibrated, round_number=2, estimate=estimate)
    assert "95.0% to 98.0% of the labels are right, by 400 labeled images" in text
    assert "temperature 1.5" in text
    assert "Round 2" in text and "student" in text


def test_the_programs_of_the_card_open_the_dataset(made, capsys):
    found, _ = made
    text = (found.dataset / "README.md").read_text()
    for program in programs(text, found.dataset):
        exec(program, {})
        shapes = capsys.readouterr().out.splitlines()
        assert len(shapes) == 3
        assert all(line.startswith("(24, 20, 3)") for line in shapes)


def test_the_programs_of_the_card_read_every_form_of_images(job, tmp_path, capsys):
    """Of a directory, too, whose name holds what a pattern of files would not."""
    directory = tmp_path / "a [b] {c} * 'd'"
    directory.mkdir()
    records = test_records.records_of(forms.READ.values())
    test_records.write(directory, records)
    shapes = [Image.open(io.BytesIO(record.image)).size[::-1] for record in records]
    for program in programs(make_card(job, num_shards=2), directory):
        exec(program.replace(".take(3)", ""), {})
        lines = capsys.readouterr().out.splitlines()
        for line, shape in zip(lines, shapes, strict=True):
            assert line.startswith(f"({shape[0]}, {shape[1]}, 3)")


def programs(card, directory):
    """Returns the card's two programs, for a dataset in a directory."""
    found = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(found) == 2
    assert all(program.count('"PATH/TO/THIS/DIRECTORY') == 1 for program in found)
    return [
        program.replace("PATH/TO/THIS/DIRECTORY", str(directory)) for program in found
    ]


def test_hostile_names_stay_in_their_cells(job):
    hostile = ("<script>|x|", "a\n| b |", "[a](b) `c` *d* ~e~ _f_")
    rules = job.selection.classes
    classes = [
        dataclasses.replace(rule, name=name)
        for rule, name in zip(rules, hostile, strict=True)
    ]
    text = make_card(job, classes=tuple(classes))
    rows = table(text, "Classes")
    assert [len(row) for row in rows] == [5, 5, 5]
    assert [row[1] for row in rows] == [escape(name) for name in hostile]
    assert "<script>" not in text


def test_nothing_in_a_card_acts_on_its_reader(job):
    name = "\x1b[31m\u202e\x00a\u2028b\x9b\ufeff"
    classes = [dataclasses.replace(rule, name=name) for rule in job.selection.classes]
    text = make_card(job, classes=type(job.selection.classes)(classes))
    assert all(char == "\n" or char.isprintable() for char in text)


def test_licenses_are_listed_unless_the_dataset_is_of_an_earlier_version(job):
    origin = Origin(kind="weights", name="hf:me/net", license="MIT")
    rows = table(make_card(job, ledger=(origin,)), "Licenses")
    assert rows == [["weights", "hf:me/net", "MIT", "nobody", ""]]
    assert "Licenses" not in make_card(job)


def test_a_dataset_with_a_ledger_is_verified_and_described_anew(tmp_path):
    found = chain.make(tmp_path, threshold=0.6)
    job = found.plan()
    artifact.start_or_resume(job.output, job.config)
    licenses.write(job.output, licenses.read(found.predictions))
    found.write()
    assert "| artifact |" in (found.dataset / artifact.CARD).read_text()
    assert verify(found)


@pytest.mark.parametrize(
    ("records", "name"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (130_000_000, "100M<n<1B"),
    ],
)
def test_the_hub_reads_the_metadata(job, records, name):
    hub = pytest.importorskip("huggingface_hub")
    images = Origin(kind="images", name="hf:me/birds:train", license="CC-BY-4.0")
    funnel = dataclasses.replace(job.selection.funnel, records=records)
    found = hub.DatasetCard(make_card(job, funnel=funnel, ledger=(images,))).data
    assert found.license == "cc-by-4.0"
    assert found.task_categories == ["image-classification"]
    assert found.size_categories == [name]
    assert found.source_datasets == ["me/birds"]


def test_as_supervised_gives_pairs_as_the_card_says(made):
    import tensorflow_datasets as tfds

    found, job = made
    text = (found.dataset / "README.md").read_text()
    assert 'as_dataset(split="train", as_supervised=True)' in text
    assert 'tfds.load("pseudo_labels")` does not find' in text
    builder = tfds.builder_from_directory(str(found.dataset))
    pairs = list(builder.as_dataset(split="train", as_supervised=True))
    assert len(pairs) == job.selection.funnel.records
    assert {image.shape for image, _ in pairs} == {(24, 20, 3)}
    with pytest.raises(tfds.core.DatasetNotFoundError):
        tfds.load("pseudo_labels")
