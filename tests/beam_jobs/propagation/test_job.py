"""The job against brute force, in the commands' own process."""

import json
import shutil

import apache_beam as beam
import numpy as np
import pytest
from etils import epath

from beam_jobs import propagate_labels
from beam_jobs.io import shards as io_shards
from beam_jobs.propagation import job as propagation_job
from beam_jobs.propagation import passes, pipeline
from beam_jobs.propagation.job import PropagationRequest, find_missing, plan, warn
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.propagation import cells as propagation_cells
from pseudo_label.propagation.cells import Cells, spread_in_unit
from tests.beam_jobs.io.test_filesystems import KINDS, ObjectStore
from tests.beam_jobs.propagation import sets
from tests.commands import call

SETTINGS = {"neighbors": 4, "alpha": 0.8, "blend": 0.5}


#: Flags by whether one graph is exact; with them, there are some cells of 10 images.
MODES = {"exact": {}, "cells": {"exact_images": 20}}


def propagate(predictions, labeled, output, *beam_flags, **flags):
    given = {"predictions": predictions, "labeled": labeled, "output": output, **flags}
    flags = [f"--{name}={value}" for name, value in given.items()]
    return call("beam_jobs.propagate_labels", *flags, "--", *beam_flags)


@pytest.fixture
def small_cells(monkeypatch):
    monkeypatch.setattr(propagation_cells, "CELL_ROWS", 10)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("propagation")
    labeled = sets.write(root / "labeled", shards=2, rows=11, seed=1, labeled=True)
    return sets.write(root / "predictions"), labeled


@pytest.fixture(scope="module")
def output(inputs, tmp_path_factory):
    output = tmp_path_factory.mktemp("propagated") / "new"
    assert propagate(*inputs, output, **SETTINGS).returncode == 0
    return output


def test_a_missing_list_of_shards_is_noticed_before_any_work(inputs, tmp_path):
    predictions = shutil.copytree(inputs[0], tmp_path / "p")
    (predictions / "shards.list").unlink()
    ended = propagate(predictions, inputs[1], tmp_path / "new", **SETTINGS)
    assert ended.returncode == 1
    assert "shards.list; delete COMPLETED" in ended.stderr
    assert not (tmp_path / "new").exists()


def test_distributions_are_those_of_brute_force(inputs, output):
    expected = sets.expected(*inputs, **SETTINGS)
    found = [row for row in sets.read(output) if row["top_labels"]]
    assert len(found) == len(expected) == 54
    for row, distribution in zip(found, expected, strict=True):
        best = np.sort(distribution)[::-1][: sets.TOP_K]
        np.testing.assert_allclose(row["top_probabilities"], best, atol=2e-4)
        assert distribution[row["label"]] == pytest.approx(best[0], abs=2e-4)


def test_agreement_is_counted_and_decides_at_one_half(inputs, output):
    def blend_plainly(name, share):
        path = output.parent / name
        flags = {**SETTINGS, "blend": share, "tie_disagreements": False}
        assert propagate(*inputs, path, **flags).returncode == 0
        return [row for row in sets.read(path) if row["top_labels"]]

    before = [row["label"] for row in sets.read(inputs[0]) if row["top_labels"]]
    spread = [row["label"] for row in blend_plainly("spread", 1)]
    same = np.equal(before, spread)
    counts = json.loads((output / "summary.json").read_text())["agreement"]
    assert counts == {"compared": 54, "same": same.sum()}
    assert 5 < same.sum() < 50
    tied = [row for row in sets.read(output) if row["top_labels"]]
    plain = blend_plainly("plain", SETTINGS["blend"])
    for is_same, row, other in zip(same, tied, plain, strict=True):
        assert row == other if is_same else row["confidence"] <= 0.5


def test_every_other_column_is_kept(inputs, output):
    changed = {"label", "confidence", "top_labels", "top_probabilities", "embedding"}
    before, after = (
        [{k: v for k, v in row.items() if k not in changed} for row in sets.read(path)]
        for path in (inputs[0], output)
    )
    assert after == before


def test_embeddings_stay_where_they_are_wanted(inputs, output, tmp_path):
    ended = propagate(*inputs, tmp_path / "new", **SETTINGS, embeddings=True)
    assert ended.returncode == 0
    before, after = sets.read(inputs[0]), sets.read(tmp_path / "new")
    assert [row["embedding"] for row in after] == [row["embedding"] for row in before]
    for row in after:
        del row["embedding"]
    assert after == sets.read(output)
    assert open_predictions(str(tmp_path / "new")).embedding_size == sets.SIZE
    assert not open_predictions(str(output)).embedding_size


def test_a_second_start_changes_nothing(inputs, output):
    before = sets.files(output)
    propagate(*inputs, output, **SETTINGS)
    assert sets.files(output) == before


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory):
    """Files by mode, made in one process."""
    root, made = tmp_path_factory.mktemp("undisturbed"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(propagation_cells, "CELL_ROWS", 10)
        for mode, flags in MODES.items():
            output = root / mode
            ended = propagate(*inputs, output, "--direct_num_workers=1", **flags)
            assert ended.returncode == 0
            made[mode] = sets.files(output)
    assert made["exact"] != made["cells"]
    return made


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.slow
def test_workers_change_no_byte(inputs, undisturbed, tmp_path, mode, workers):
    beam_flags = (
        f"--direct_num_workers={workers}",
        "--direct_running_mode=multi_processing",
    )
    ended = propagate(*inputs, tmp_path / "new", *beam_flags, **MODES[mode])
    assert ended.returncode == 0
    assert sets.files(tmp_path / "new") == undisturbed[mode]


class Bundles(beam.PTransform):
    """The numbers of shards, the last first, in one bundle or in one each."""

    are_split = True

    def __init__(self, num_shards):
        super().__init__()
        self._numbers = list(range(num_shards))[::-1]

    def expand(self, begin):
        numbers = begin | beam.Create(self._numbers, reshuffle=False)
        return numbers | beam.Reshuffle() if self.are_split else numbers


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("are_split", "sent_bytes"), [(False, 2**26), (True, 0)])
def test_bundles_and_their_order_change_no_byte(
    inputs, undisturbed, tmp_path, monkeypatch, mode, are_split, sent_bytes
):
    monkeypatch.setattr(io_shards, "Shards", Bundles)
    monkeypatch.setattr(Bundles, "are_split", are_split)
    monkeypatch.setattr(passes, "_SENT_BYTES", sent_bytes)
    ended = propagate(*inputs, tmp_path / "new", **MODES[mode])
    assert ended.returncode == 0
    assert sets.files(tmp_path / "new") == undisturbed[mode]


@pytest.mark.usefixtures("small_cells")
def test_rounds_change_no_byte(inputs, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_LOCAL_BYTES", 1000)
    ended = propagate(*inputs, tmp_path / "new", **MODES["cells"])
    assert ended.returncode == 0
    assert sets.files(tmp_path / "new") == undisturbed["cells"]


def test_copies_of_labeled_images_count_as_sent(inputs, tmp_path):
    request = PropagationRequest(predictions=inputs[0], labeled=inputs[1])
    job = plan(request, output=str(tmp_path / "new"))
    cells = Cells(np.zeros((3, sets.SIZE), np.float32), np.array([1, 3, 2]))
    # 18 labeled images reach all cells.
    assert pipeline._sent_bytes(job, cells) == (60 + 18 * 6) * (13 + 2 * sets.SIZE)


def test_images_that_are_lost_on_their_way_fail_the_job(inputs, tmp_path, monkeypatch):
    def read(path, job):
        return read_spread(path, job)[:-1]

    read_spread = passes._read_spread
    monkeypatch.setattr(passes, "_read_spread", read)
    ended = propagate(*inputs, tmp_path / "new")
    assert ended.returncode == 1
    assert "row 19" in ended.stderr
    assert "got 0" in ended.stderr
    assert not (tmp_path / "new" / "COMPLETED").exists()


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("mode", MODES)
def test_labeled_images_that_are_lost_fail_the_job(inputs, tmp_path, monkeypatch, mode):
    def send(self, rows):
        return send_labeled(self, rows[1:])

    send_labeled = passes.SendToUnits._send_labeled
    monkeypatch.setattr(passes.SendToUnits, "_send_labeled", send)
    ended = propagate(*inputs, tmp_path / "new", **MODES[mode])
    assert ended.returncode == 1
    # One less of each shard.
    assert "expected 18 labeled images, got 16" in ended.stderr


def test_the_order_of_shards_changes_no_distribution(inputs, output, tmp_path):
    turned = sets.write(tmp_path / "turned", order=[2, 0, 1])
    assert propagate(turned, inputs[1], tmp_path / "new", **SETTINGS).returncode == 0
    rows, others = (
        {row["key"]: row for row in sets.read(path) if row["top_labels"]}
        for path in (output, tmp_path / "new")
    )
    assert rows.keys() == others.keys()
    for key, row in rows.items():
        np.testing.assert_allclose(
            row["top_probabilities"], others[key]["top_probabilities"], atol=1e-5
        )


def test_landmarks_bring_a_few_labels_to_all_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(propagation_cells, "CELL_ROWS", 20)
    labeled = sets.write(tmp_path / "labeled", shards=1, rows=8, labeled=True)
    corpus = sets.write(tmp_path / "predictions", rows=200, seed=2)

    def spread(exact_images):
        output = tmp_path / str(exact_images)
        flags = {"blend": 1, "tie_disagreements": False, "exact_images": exact_images}
        assert propagate(corpus, labeled, output, **flags).returncode == 0
        return [row["label"] for row in sets.read(output) if row["top_labels"]]

    exact, cells, without = (spread(count) for count in (1000, 200, 1))
    same = np.equal(cells, exact).mean()
    assert same > 0.8
    assert same > np.equal(without, exact).mean() + 0.05


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize(
    ("exact_images", "expected"),
    [(1, (1, 0)), (7, (3, 4)), (17, (6, 9)), (72, (18, 54))],
)
def test_landmarks_and_labels_are_a_limited_number(
    inputs, tmp_path, monkeypatch, exact_images, expected
):
    seen = []

    def spread(rows, *arguments, **settings):
        labeled = rows["label"] >= 0
        seen.append((labeled.sum(), (~labeled).sum()))
        return spread_in_unit(rows, *arguments, **settings)

    monkeypatch.setattr(propagation_cells, "spread_in_unit", spread)
    ended = propagate(*inputs, tmp_path / "new", exact_images=exact_images)
    assert ended.returncode == 0
    # Of 18 labeled images and 54 others.
    assert seen[0] == expected
    assert sum(expected) <= exact_images
    assert max(map(sum, seen)) <= max(exact_images, 2 * 10 + 18)


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize(("exact_images", "is_exact"), [(78, True), (77, False)])
def test_labeled_images_are_of_the_exact_graph(
    inputs, tmp_path, exact_images, is_exact
):
    request = PropagationRequest(
        predictions=inputs[0], labeled=inputs[1], exact_images=exact_images
    )
    job = plan(request, output=str(tmp_path / "new"))
    # 60 images, 6 of which have no prediction, and 18 labeled ones.
    assert (job.num_cells == 1) == is_exact


@pytest.mark.usefixtures("small_cells")
def test_an_exact_graph_of_fewer_images_than_wanted_is_named(
    inputs, tmp_path, monkeypatch
):
    def plan_with(**settings):
        request = PropagationRequest(
            predictions=inputs[0], labeled=inputs[1], **settings
        )
        return plan(request, output=str(tmp_path / "new"))

    assert plan_with().max_exact == 200_000
    # 8 features, 3 top classes.
    assert plan_with(neighbors=1000).max_exact == 2**32 // (80 + 48 * 1003)
    assert not list(warn(plan_with(exact_images=77)))
    monkeypatch.setattr(propagation_job, "count_bytes", lambda *_, **__: 2**26)
    job = plan_with(exact_images=77)
    assert (job.max_exact, job.num_cells) == (64, 8)
    (warning,) = warn(job)
    assert "--exact_images=77" in warning
    assert "64" in warning


def test_flags_have_the_defaults_of_the_request():
    propagate_labels.FLAGS.parse(["", "--predictions=p", "--labeled=l", "--output=o"])
    request = PropagationRequest(predictions="p", labeled="l")
    assert PropagationRequest(**propagate_labels._REQUEST.arguments()) == request


def test_settings():
    for bad in ({"blend": 1.5}, {"exact_images": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            PropagationRequest(predictions="p", labeled="l", **bad)


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("mode", MODES)
def test_a_corpus_without_a_prediction(inputs, tmp_path, monkeypatch, mode):
    monkeypatch.setattr(sets, "UNDECODABLE", range(20))
    broken = sets.write(tmp_path / "broken")
    ended = propagate(broken, inputs[1], tmp_path / "new", **MODES[mode])
    assert ended.returncode == 0
    assert not any(row["top_labels"] for row in sets.read(tmp_path / "new"))


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize(
    ("pass_name", "done"),
    [("_write_spread", 1), ("_write_spread", 3), ("_blended_tables", 1)],
)
def test_cells_do_not_depend_on_an_interruption(
    inputs, undisturbed, tmp_path, monkeypatch, pass_name, done
):
    """Of landmarks and units, or of shards, some are done and others are not."""
    whole, calls = getattr(passes, pass_name), []

    def interrupted(*arguments):
        if len(calls) == done:
            raise InterruptedError
        calls.append(arguments)
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(passes, pass_name, interrupted)
        ended = propagate(*inputs, tmp_path / "new", **MODES["cells"])
    assert ended.returncode != 0
    assert (tmp_path / "new" / "cells" / "cells.parquet").exists()
    units = list((tmp_path / "new" / "cells").glob("unit-*"))
    assert len(units) == done - 1 if pass_name == "_write_spread" else len(units) > 2
    ended = propagate(*inputs, tmp_path / "new", **MODES["cells"])
    assert ended.returncode == 0
    assert sets.files(tmp_path / "new") == undisturbed["cells"]


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("deleted", ["landmarks.parquet", "cells.parquet"])
def test_a_job_that_ended_while_it_deleted_its_work_resumes(
    inputs, undisturbed, tmp_path, monkeypatch, deleted
):
    def interrupted(path, **_):
        (path / deleted).unlink()
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(type(epath.Path()), "rmtree", interrupted)
        ended = propagate(*inputs, tmp_path / "new", **MODES["cells"])
    assert ended.returncode != 0
    assert (tmp_path / "new" / "cells").exists()
    ended = propagate(*inputs, tmp_path / "new", **MODES["cells"])
    assert ended.returncode == 0
    assert sets.files(tmp_path / "new") == undisturbed["cells"]


@pytest.mark.usefixtures("small_cells")
def test_what_earlier_jobs_have_left_is_deleted_before_the_first_pass(
    inputs, tmp_path, monkeypatch
):
    """And what workers of this one leave, after the last pass."""
    new, passes_run = tmp_path / "new", []
    deleted = pipeline.artifact.delete_unfinished
    calls = []

    def delete_unfinished(directory):
        calls.append((len(passes_run), epath.Path(directory).name))
        deleted(directory)

    def run_pass(job, *arguments, **more):
        passes_run.append(job)
        ended = run_pipeline(job, *arguments, **more)
        (new / f".predictions-00000.parquet.{len(passes_run):032x}").touch()
        return ended

    run_pipeline = pipeline.runners.run_pipeline
    monkeypatch.setattr(pipeline.artifact, "delete_unfinished", delete_unfinished)
    monkeypatch.setattr(pipeline.runners, "run_pipeline", run_pass)
    assert propagate(*inputs, new, **MODES["cells"]).returncode == 0
    assert len(passes_run) == 3
    assert calls[:3] == [(1, "new"), (1, "cells"), (3, "new")]
    assert not list(new.glob(".predictions*"))


def test_missing_files_are_found_by_one_listing():
    ObjectStore.files.clear()
    folder = epath.Path("mem://bucket/new")
    for number in (1, 2, 5):
        (folder / f"unit-{number}").write_bytes(b"1")
    ObjectStore.calls.clear()
    found = find_missing(lambda number: folder / f"unit-{number}", range(2, 8))
    assert found == [3, 4, 6, 7]
    assert len(ObjectStore.calls) == 1


@pytest.mark.parametrize("scheme", KINDS)
def test_a_job_that_ended_after_it_deleted_its_work_resumes(inputs, output, scheme):
    files = KINDS[scheme].files
    files.clear()
    target = epath.Path(f"{scheme}://bucket/new")
    for _ in range(2):
        assert propagate(*inputs, target, **SETTINGS).returncode == 0
        found = {epath.Path(path).name: content for path, content in files.items()}
        assert found.pop("COMPLETED")
        assert found == sets.files(output)
        (target / "COMPLETED").unlink()


def test_a_file_of_another_shard_fails_the_job(inputs, output, tmp_path):
    again = tmp_path / "new"
    shutil.copytree(output, again)
    (again / "COMPLETED").unlink()
    first, second, _ = sorted(again.glob("predictions-*.parquet"))
    shutil.copy(first, second)
    ended = propagate(*inputs, again, **SETTINGS)
    assert ended.returncode == 1
    assert f"{second} was written" in ended.stderr
    assert not (again / "COMPLETED").exists()


def test_a_shard_without_a_file_fails_the_job(inputs, tmp_path, monkeypatch):
    def run(job, *_, **__):
        run_job(job, *_, **__)
        job.path(1).unlink()

    run_job = pipeline.run
    monkeypatch.setattr(pipeline, "run", run)
    ended = propagate(*inputs, tmp_path / "new", **SETTINGS)
    assert ended.returncode == 1
    path = tmp_path / "new" / "predictions-00001.parquet"
    assert f"{path} is missing" in ended.stderr


def test_a_class_without_a_labeled_image_is_named(inputs, tmp_path):
    labeled = tmp_path / "labeled"
    names = [*sets.CLASS_NAMES, "g"]
    sets.write(labeled, shards=1, seed=1, labeled=True, class_names=names)
    predictions = sets.write(tmp_path / "predictions", class_names=names)
    ended = propagate(predictions, labeled, tmp_path / "new", **SETTINGS)
    assert ended.returncode == 0
    assert "warning: 1 of 7 classes have no labeled image" in ended.stdout
    assert "first 'g'" in ended.stdout
    assert "warning" not in propagate(*inputs, tmp_path / "all", **SETTINGS).stdout


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"embedding_size": 0}, "embeddings"),
        ({"teachers": ["another"]}, "teachers"),
        ({"class_names": list("fedcba")}, "class"),
        ({"labeled": False}, "labels"),
    ],
)
def test_labeled_images_that_do_not_fit(inputs, tmp_path, changes, word):
    labeled = sets.write(tmp_path / "labeled", **{"labeled": True, **changes})
    ended = propagate(inputs[0], labeled, tmp_path / "new")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert labeled in line
    assert word in line
    assert not (tmp_path / "new").exists()
