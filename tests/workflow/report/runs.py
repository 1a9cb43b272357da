"""A made-up run with all files that the report reads, as the stages write them.

The classifiers are calibrated, confuse neighboring classes, and differ in some images.
"""

import dataclasses
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from stage import artifact
from stage.calibration_files import CALIBRATION, CALIBRATION_ROWS
from tests.pseudo_label.selection import selections
from workflow.report.analysis import figures, verdict
from workflow.samples import tiles

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</style></svg></title>&lt;b&gt;",
    "\u202egnp.tac\u202c\u200f",
    "two\nlines\r\n\tand a tab\x00\x1b[31m",
    "n" * 1000,
    "\u4e2d\u6587" * 200,
    "",
    "a\ud800b",
    "url(https://example.com/x)",
)


NAMES = ("ant", "bee", "cat", "dog")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The properties of a made-up run.

    Attributes:
        class_names: K names.
        accuracies: Accuracies of the first teacher and of the student of each round.
        control: Accuracy of the control.
        images: Number of unlabeled images.
        shards: Number of their shards.
        tested: Number of test images.
        threshold: Lowest confidence that is kept.
        images_per_class: Quota of a class.
        tiles: Number of tiles of each contact sheet.
        side: Side of a thumbnail in pixels.
        calibrated: Whether the first round has a calibration.
        agreement: Share of the pseudo-labels that students repeat without noise.
        under_noise: Share that they repeat under noise at the end of training.
    """

    class_names: tuple = (*HOSTILE, "ant", "bee")
    accuracies: tuple = (0.82, 0.9, 0.93)
    control: float = 0.8
    images: int = 3000
    shards: int = 3
    tested: int = 600
    threshold: float = 0.7
    images_per_class: int = 200
    tiles: int = 6
    side: int = 32
    calibrated: bool = False
    agreement: float = 0.97
    under_noise: float = 0.85


def read_figures(run):
    """The figures of a run and the report that they belong to."""
    report = verdict.make_report(run)
    return figures.read_figures(run, report), report


def make(root, plan=None):
    """Writes the run and returns its directory."""
    plan = plan or Plan()
    rng = np.random.default_rng(0)
    truth = draw_classes(rng, plan.images, plan)
    tested = draw_classes(rng, plan.tested, plan)
    write_first_teacher(rng, root, tested, plan)
    write_training(root / "control", plan, plan.control, seed=1)
    own = np.random.default_rng(1)
    write_evaluation(own, root / "control" / "evaluation", tested, plan.control, plan)
    for number in range(1, len(plan.accuracies)):
        write_round(rng, root / f"round-{number}", truth, tested, number, plan)
    return root


def write_first_teacher(rng, root, tested, plan):
    teacher = root / "round-1" / "teacher"
    for member in (1, 2):
        accuracy = plan.accuracies[0] - 0.01 * member
        write_training(teacher / f"member-{member}", plan, accuracy, seed=member)
    write_evaluation(rng, teacher / "evaluation", tested, plan.accuracies[0], plan)
    if plan.calibrated:
        write_calibration(rng, root / "round-1" / "calibration", plan)


def write_round(rng, directory, truth, tested, number, plan):
    teacher, student = plan.accuracies[number - 1 : number + 1]
    tables = write_predictions(rng, directory / "predictions", truth, teacher, plan)
    asked = selections.config(plan.threshold, plan.images_per_class, 3)
    selection = selections.run(tables, asked, classes=plan.class_names, dropped=[0])
    write_dropped(directory / "selection", tables)
    write(directory / "selection" / "selection.json", selection.to_json())
    lengths = [str(selection.funnel.records - 1), "1"]
    write(
        directory / "dataset" / "dataset_info.json",
        {"splits": [{"shardLengths": lengths}]},
    )
    write_training(directory / "student", plan, student, seed=10 + number)
    write_evaluation(
        rng,
        directory / "evaluation",
        tested,
        student,
        plan,
        fit={"num_examples": 100, "agreement": plan.agreement},
    )
    write_samples(rng, directory / "samples", tables[0], plan)


def draw_classes(rng, count, plan):
    """Classes, int32 [count]; the first is ten times as frequent as the last."""
    weights = np.geomspace(10, 1, len(plan.class_names))
    return rng.choice(len(weights), count, p=weights / weights.sum()).astype(np.int32)


def predict(rng, truth, accuracy, plan):
    """Labels and confidences of a classifier of some accuracy."""
    hardness = np.random.default_rng(len(truth)).random(len(truth))
    effort = 0.7 * hardness + 0.3 * rng.random(len(truth))
    right = effort < np.quantile(effort, accuracy)
    off = rng.choice([-1, 1], len(truth))
    label = np.where(right, truth, (truth + off) % len(plan.class_names))
    sure = np.where(right, rng.beta(9, 1, len(truth)), rng.beta(3, 2, len(truth)))
    return label.astype(np.int32), sure.astype(np.float32)


def write_predictions(rng, directory, truth, accuracy, plan):
    label, confidence = predict(rng, truth, accuracy, plan)
    directory.mkdir(parents=True)
    config = {
        "images": {"num_shards": plan.shards},
        "class_names": list(plan.class_names),
        "teachers": ["0123456789abcdef" * 4],
    }
    run = artifact.config_fingerprint(config, leaving_out="images")
    tables = []
    for shard, rows in enumerate(np.array_split(np.arange(len(truth)), plan.shards)):
        table = to_table(rng, rows, label[rows], confidence[rows])
        tables.append(table)
        with (directory / prediction_schema.shard_name(shard)).open("wb") as file:
            prediction_schema.write_shard(file, iter([table]), fingerprint=run)
    write(directory / "config.json", config)
    return tables


def to_table(rng, rows, label, confidence):
    """Predictions whose every 97th image cannot be decoded."""
    missing = np.arange(len(rows)) % 97 == 96
    nothing = pa.nulls(len(rows))
    columns = {
        "record_index": np.arange(len(rows)),
        "key": [f"photos/{row:06d}.jpg" for row in rows],
        "key_hash": rng.integers(0, 2**63, len(rows)).astype(np.uint64),
        "status": np.where(missing, "undecodable", "ok"),
        "label": pa.array(label, mask=missing),
        "confidence": pa.array(confidence, mask=missing),
    }
    schema = prediction_schema.schema()
    arrays = [pa.array(columns.get(name, nothing)) for name in schema.names]
    return pa.Table.from_arrays(arrays, names=schema.names).cast(schema)


def write_dropped(directory, tables):
    """The first image of the first shard is a duplicate of the second one."""
    row = dict.fromkeys(near_duplicates.dropped_schema().names)
    row |= {"record_index": 0, "key": tables[0]["key"][0].as_py(), "twin_set": ""}
    row |= {"reason": near_duplicates.DUPLICATE, "same_bytes": False, "distance": 1}
    table = pa.Table.from_pylist([row], schema=near_duplicates.dropped_schema())
    near_duplicates.write_dropped(directory, 0, table)


def write_evaluation(rng, directory, tested, accuracy, plan, **more):
    label, confidence = predict(rng, tested, accuracy, plan)
    status = np.full(len(tested), "ok")
    right = int((label == tested).sum())
    directory.mkdir(parents=True)
    table = pa.table(
        {
            "key": [f"test/{row:06d}.jpg" for row in range(len(tested))],
            "label": tested,
            "predicted": label,
            "confidence": confidence,
            "status": status,
        }
    )
    pq.write_table(table, directory / "evaluation.parquet")
    facts = {"num_examples": len(tested), "num_correct": right, "num_undecodable": 0}
    facts["top1"] = right / len(tested)
    write(directory / "evaluation.json", {**facts, **more})
    return facts["top1"]


def write_calibration(rng, directory, plan):
    truth = draw_classes(rng, 500, plan)
    label, confidence = predict(rng, truth, plan.accuracies[0], plan)
    directory.mkdir(parents=True)
    columns = {"label": truth, "predicted": label, "confidence": confidence}
    pq.write_table(pa.table(columns), directory / CALIBRATION_ROWS)
    facts = {"kind": "held_out", "teachers": ["t"], "temperature": 1.2}
    write(directory / CALIBRATION, facts)


def write_training(directory, plan, accuracy, *, seed):
    config = {
        "seed": seed,
        "num_steps": 1600,
        "model": {"width_multiplier": 0.5, "dropout_rate": 0.25},
        "augment": {"magnitude": 5.0},
    }
    write(directory / "config.json", {"config": config})
    evaluation = {"top1": accuracy, "num_examples": plan.tested}
    facts = {"evaluation": evaluation, "num_parameters": 9, "fingerprint": "ab" * 32}
    write(directory / "classifier.json", facts)
    with (directory / "metrics.jsonl").open("w") as file:
        for step in range(100, 1601, 100):
            done = step / 1600
            row = {
                "step": step,
                "train/loss": 2.5 * (1 - done) ** 2 + 0.4,
                "train/top1": plan.under_noise * done**0.3,
                "train/top1_labeled": min(1.0, 1.05 * plan.under_noise * done**0.3),
                "train/top1_pseudo_labeled": plan.under_noise * done**0.3,
            }
            file.write(json.dumps(row) + "\n")
            if step % 400 == 0:
                row = {"step": step, "evaluation/top1": accuracy * done**0.1}
                file.write(json.dumps(row) + "\n")


def write_samples(rng, directory, table, plan):
    directory.mkdir(parents=True)
    samples = [
        make_sample(rng, sheet, position, table, plan)
        for sheet in tiles.SHEETS
        for position in range(plan.tiles)
    ]
    tiles.write_samples(directory, samples)
    write(directory / "config.json", {})


def make_sample(rng, sheet, position, table, plan):
    row = table.slice(position, 1).to_pylist()[0]
    is_broken = sheet == "undecodable"
    has_twin = sheet in ("leaked", "duplicate")
    return tiles.Sample(
        sheet=sheet,
        position=position,
        key=row["key"],
        shard=0,
        row=position,
        label=None if is_broken else row["label"],
        confidence=None if is_broken else row["confidence"],
        copies=3 if sheet == "most_copied" else 1,
        reason="undecodable: <b>truncated</b> file" if is_broken else "",
        thumbnail=None if is_broken else thumbnail(rng, plan.side),
        twin_key=f"twin of {row['key']}" if has_twin else None,
        twin_thumbnail=thumbnail(rng, plan.side) if has_twin else None,
    )


def thumbnail(rng, side):
    """A JPEG of coarse shapes and fine grain, as large as one of a photograph."""
    pixels = np.zeros((side, side, 3))
    for cells in (3, 6, 12, 24, side):
        coarse = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
        resized = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        pixels += np.asarray(resized, float) / cells
    pixels -= pixels.min()
    picture = Image.fromarray((pixels * (255 / pixels.max())).astype(np.uint8))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return content.getvalue()


def write(path, content):
    """Writes JSON into the directory of a stage, and marks it as complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    completed = {
        "seconds": 12.5,
        "command": ["-m", f"stage.{path.parent.name}", "--flag=<b>a b</b>"],
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
    }
    (path.parent / "COMPLETED").write_text(json.dumps(completed))
