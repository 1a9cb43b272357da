r"""Records what the published code of FixMatch, FlexMatch and FreeMatch computes.

  pip install torch && pip download --no-deps semilearn==0.3.2 && unzip semilearn-*.whl
  python benchmarks/methods/semilearn_reference.py semilearn \
      tests/data/semilearn_consistency.json

It needs none of the packages of this project, and of semilearn (Microsoft's library of
these methods, MIT license) only the files of the three methods: its own imports would
need a dozen packages more. `tests/classifier/training/test_semilearn.py` makes the same
logits and compares thresholds, masks and losses.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
import types
from typing import Any

import numpy as np

NUM_STEPS, NUM_CLASSES, NUM_IMAGES, NUM_LABELED, NUM_UNLABELED = 12, 4, 30, 4, 12
#: Spread of the logits; it grows, so that more and more are confident.
SCALES = np.linspace(1.0, 8.0, NUM_STEPS)
THRESHOLD, DECAY = 0.95, 0.9


def draw(step: int) -> dict[str, np.ndarray]:
    """Returns the logits of views, labeled and strong images, labels and indices."""
    rng = np.random.default_rng(step)

    def logits(count: int) -> np.ndarray:
        drawn = SCALES[step] * rng.standard_normal((count, NUM_CLASSES))
        drawn[:, 0] += 1.0  # One class is more frequent.
        return drawn.astype(np.float32)

    return {
        "weak": logits(NUM_UNLABELED),
        "strong": logits(NUM_UNLABELED),
        "labeled": logits(NUM_LABELED),
        "labels": rng.integers(0, NUM_CLASSES, NUM_LABELED),
        "index": rng.permutation(NUM_IMAGES)[:NUM_UNLABELED],
    }


def main() -> None:
    """Writes the figures of every method and step."""
    source, output = map(pathlib.Path, sys.argv[1:])
    modules = _load(source)
    figures = {name: _record(modules, name) for name in ("fix", "flex", "free")}
    output.write_text(json.dumps(figures, indent=1) + "\n")


def _load(source: pathlib.Path) -> dict[str, Any]:
    """Returns the modules of the methods, without their other imports."""

    class _Base:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

    class _Registry:
        def register(self, name: str) -> Any:
            del name
            return lambda found: found

    stubs: dict[str, dict[str, Any]] = {
        "semilearn": {},
        "semilearn.core": {"AlgorithmBase": _Base},
        "semilearn.core.utils": {"ALGORITHMS": _Registry()},
        "semilearn.core.hooks": {"Hook": _Base},
        "semilearn.algorithms": {},
        "semilearn.algorithms.utils": dict.fromkeys(
            ("SSL_Argument", "str2bool", "smooth_targets", "concat_all_gather")
        ),
        "semilearn.core.criterions": {},
        "semilearn.algorithms.flexmatch": {},
        "semilearn.algorithms.freematch": {},
    }
    for name, content in stubs.items():
        module = types.ModuleType(name)
        module.__path__ = []
        vars(module).update(content)
        sys.modules[name] = module

    def load(name: str) -> Any:
        path = source.joinpath(*name.split(".")[1:]).with_suffix(".py")
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    load("semilearn.core.criterions.cross_entropy")
    masking = load("semilearn.algorithms.hooks.masking")
    hooks = types.ModuleType("semilearn.algorithms.hooks")
    hooks.MaskingHook = masking.MaskingHook  # type: ignore[attr-defined]
    hooks.PseudoLabelingHook = _Base  # type: ignore[attr-defined]
    sys.modules["semilearn.algorithms.hooks"] = hooks
    return {
        "masking": masking,
        "criterions": load("semilearn.core.criterions.consistency"),
        "flex": load("semilearn.algorithms.flexmatch.utils"),
        "free_hook": load("semilearn.algorithms.freematch.utils"),
        "free": load("semilearn.algorithms.freematch.freematch"),
    }


def _record(modules: dict[str, Any], name: str) -> list[dict[str, Any]]:
    import torch

    algorithm = types.SimpleNamespace(
        p_cutoff=THRESHOLD, distributed=False, use_quantile=False, clip_thresh=False
    )
    hook = {
        "fix": lambda: modules["masking"].FixedThresholdingHook(),
        "flex": lambda: modules["flex"].FlexMatchThresholdingHook(
            NUM_IMAGES, NUM_CLASSES, thresh_warmup=True
        ),
        "free": lambda: modules["free_hook"].FreeMatchThresholdingHook(
            NUM_CLASSES, momentum=DECAY
        ),
    }[name]()
    rows = []
    for step in range(NUM_STEPS):
        drawn = {key: torch.from_numpy(value) for key, value in draw(step).items()}
        weak, strong = drawn["weak"], drawn["strong"]
        mask = hook.masking(
            algorithm,
            logits_x_ulb=torch.softmax(weak, dim=-1),
            softmax_x_ulb=False,
            idx_ulb=drawn["index"],
        )
        criterions = modules["criterions"]
        labeled = criterions.ce_loss(
            drawn["labeled"], drawn["labels"], reduction="mean"
        )
        consistency = criterions.consistency_loss(
            strong, weak.argmax(dim=-1), "ce", mask=mask
        )
        row = {
            "mask": mask.int().tolist(),
            "labeled_loss": float(labeled),
            "consistency_loss": float(consistency),
        }
        if name == "free":
            relative = hook.p_model / hook.p_model.max()
            row["thresholds"] = (hook.time_p * relative).tolist()
            row["fairness_loss"] = 0.0
            if mask.sum() > 0:
                fairness, _ = modules["free"].entropy_loss(
                    mask, strong, hook.p_model, hook.label_hist
                )
                row["fairness_loss"] = float(fairness)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
