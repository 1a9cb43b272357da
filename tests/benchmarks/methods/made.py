"""A draw and a result, of which tests change what matters to them."""

from benchmarks.methods.draws import DataDraw
from benchmarks.methods.results import Result, RunKey

DRAW = DataDraw(
    labeled="labeled",
    evaluation="test",
    images="corpus",
    truth=None,
    num_images=1_000,
    exclude=("test", "copies"),
    duplicate_bits=0,
    class_names=("a", "b", "c"),
)
KEY = RunKey(
    data="digits",
    labels_per_class=5,
    seed=1,
    budget=0.5,
    method="control",
    recipe="abc",
)
RESULT = Result(
    key=KEY,
    accuracy=0.5,
    multiply_adds=2.0,
    target=4.0,
    parts={},
    seconds=1.5,
    num_classes=10,
)
