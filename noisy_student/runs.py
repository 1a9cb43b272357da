"""Runs: making one, and what is in its directory."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from noisy_student.classifiers import ImageClassifier
from stage import artifact
from workflow.commands import demonstration, running
from workflow.run_file.reading import read_run

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pseudo_label.selection.decision import Selection

#: Receives a line for the user.
Log = Callable[[str], None]


def run(
    run_file: str | os.PathLike[str] | None = None,
    *,
    settings: Iterable[str] = (),
    output: str | os.PathLike[str] = "",
    log: Log = print,
    **options: Any,
) -> FinishedRun:
    """Runs what is to do of a run, as `noisy-student run` does, and returns it.

    Args:
        run_file: Run file, or the directory that has it.
        settings: Settings that win over the file, such as "teacher.preset=tiny".
        output: Directory of the run, instead of that in the file.
        log: Receives a line for the user.
        options: Those of the command: `until="selection"` and `number=2` are the goal
            and its round, `jobs=4` stages run side by side, `remake=True` makes stale
            stages anew, `reused=RUN` takes over stages of another run (`--from=`).

    Raises:
        ValueError, OSError: If the settings are wrong.
        RuntimeError: If a stage fails, or was made by other settings.
    """
    path = None if run_file is None else os.fspath(run_file)
    if isinstance(settings, str):
        raise ValueError(f"expected a list of settings, got {settings!r}")
    config = read_run(path, settings, output=os.fspath(output))
    running.run(config, running.Options(**options), log)
    return FinishedRun(pathlib.Path(config.output))


def demo(
    output: str | os.PathLike[str] = "runs/demo",
    *,
    settings: Iterable[str] = (),
    log: Log = print,
) -> FinishedRun:
    """Runs the chain on handwritten digits, in some minutes; see `run`."""
    demonstration.run(os.fspath(output), tuple(settings), running.Options(), log=log)
    return FinishedRun(pathlib.Path(output))


def open_run(path: str | os.PathLike[str]) -> FinishedRun:
    """Returns a run by its run file or its directory; raises OSError without one."""
    config = read_run(os.fspath(path))
    return FinishedRun(pathlib.Path(config.output))


@dataclasses.dataclass(frozen=True)
class PredictionTable:
    """The predictions of a stage: a row for each image of the source."""

    directory: pathlib.Path

    def to_arrow(self, columns: list[str] | None = None) -> pa.Table:
        """Returns the rows with the name of each class beside its number.

        Args:
            columns: Names of the columns to read; None for all but features.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        from pseudo_label.predictions.prediction_set import open_predictions

        found = open_predictions(str(self.directory))
        paths = [str(found.path(index)) for index in range(found.num_shards)]
        rows = ds.dataset(paths, format="parquet")
        if columns is None:
            columns = [name for name in rows.schema.names if name != "embedding"]
        table = rows.to_table(columns)
        if "label" not in columns:
            return table
        names = pa.array(found.class_names, pa.string())
        return table.append_column("class", names.take(table["label"].combine_chunks()))

    def to_pandas(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Returns the rows in pandas, whose columns keep Arrow's types.

        NumPy has no missing integers: hashes of 64 bits would become floats.
        """
        import pandas as pd

        return self.to_arrow(columns).to_pandas(types_mapper=pd.ArrowDtype)

    def __len__(self) -> int:
        from pseudo_label.predictions.prediction_set import open_predictions

        return open_predictions(str(self.directory)).num_images


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """The directory of a run.

    Attributes:
        path: Directory.
        number: Round that the properties are of; 0 for the last one.
    """

    path: pathlib.Path
    number: int = 0

    def round(self, number: int) -> FinishedRun:
        """Returns the same run, whose properties are those of a round.

        Raises ValueError if there is no such round.
        """
        begun = len(list(self.path.glob("round-*")))
        if not 1 <= number <= begun:
            raise ValueError(
                f"expected a round of {self.path}, which has {begun}, got {number}"
            )
        return dataclasses.replace(self, number=number)

    @property
    def num_rounds(self) -> int:
        """Number of rounds whose student is complete."""
        return sum(map(artifact.is_complete, self.path.glob("round-*/student")))

    @property
    def teacher(self) -> ImageClassifier:
        """Teacher of the round, the members of the first one as an ensemble."""
        if self._number > 1:
            return ImageClassifier(self.path / f"round-{self._number - 1}" / "student")
        from workflow.report.analysis.run_files import Run

        return ImageClassifier(*Run(self.path).members())

    @property
    def student(self) -> ImageClassifier:
        """Student of the round."""
        return ImageClassifier(self._directory / "student")

    @property
    def control(self) -> ImageClassifier:
        """The student's network, trained on labels alone for as long."""
        return ImageClassifier(self.path / "control")

    @property
    def predictions(self) -> PredictionTable:
        """Predictions that the round selects from."""
        return PredictionTable(self._directory / "predictions")

    @functools.cached_property
    def selection(self) -> Selection:
        """What was kept: its `funnel`, and a rule for each of its `classes`."""
        from pseudo_label.selection.decision import read_selection

        return read_selection(self._directory / "selection")

    @property
    def dataset(self) -> pathlib.Path:
        """Directory that `tfds.builder_from_directory` opens."""
        return self._directory / "dataset"

    @property
    def report(self) -> dict[str, Any]:
        """Figures of the report; `report_page` shows them.

        Raises FileNotFoundError if the run is not finished.
        """
        from workflow.report import write_report

        return write_report.read(self.path, dict[str, Any])

    @property
    def report_page(self) -> pathlib.Path:
        """HTML page of the report."""
        return self.path / "report.html"

    @property
    def _number(self) -> int:
        return self.number or max(self.num_rounds, 1)

    @property
    def _directory(self) -> pathlib.Path:
        return self.path / f"round-{self._number}"
