r"""Prints what networks cost, before any training: parameters and multiply-adds.

  python -m classifier.summary
  python -m classifier.summary --preset=resnet_rs_299
  python -m classifier.summary --preset=resnet_rs_50_160 --scale=4 --epochs=350
  python -m classifier.summary --preset=tiny --settings

Without --preset it builds the eleven published networks, compares their parameters and
FLOPs with the published ones, and exits with status 1 if any differ. With --settings it
lists the settings of a recipe, which --set= changes.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from classifier.models import scaling, variants
from classifier.training import presets
from classifier.training.config import TrainConfig, override_recipe
from stage import cli, setting_list
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_PRESET = FLAGS.preset(None, presets.PRESETS)
_SET = FLAGS.set("model.width_multiplier=0.5")
_NUM_CLASSES = FLAGS.integer(
    "num_classes", 1000, "Width of the head of --preset.", lower_bound=2
)
_SCALE = FLAGS.number(
    "scale", None, "Multiply-adds to scale --preset to, relative to its own."
)
_EPOCHS = FLAGS.number(
    "epochs",
    float(scaling.LONG_TRAINING_EPOCHS),
    "Length of the training to scale for: long training favors depth, short training "
    "width.",
)

_SETTINGS = FLAGS.boolean(
    "settings",
    False,
    "List the settings of --preset: value, type and description. Students have those "
    "of `mixture` besides, see docs/students.md.",
)

#: By depth and image size: exact number of parameters, and billions of FLOPs (two per
#: multiply-add), of the graph that was trained on ImageNet's 1000 classes. The paper
#: rounds them.
PUBLISHED: dict[tuple[int, int], tuple[int, float]] = {
    (50, 160): (35_691_912, 4.56),
    (101, 160): (63_618_696, 8.36),
    (101, 192): (63_618_696, 12.02),
    (152, 192): (86_621_576, 17.49),
    (152, 224): (86_621_576, 23.79),
    (152, 256): (86_621_576, 31.06),
    (200, 256): (93_209_992, 40.19),
    (270, 256): (129_861_448, 53.90),
    (350, 256): (163_956_168, 68.75),
    (350, 320): (163_956_168, 107.37),
    (420, 320): (191_891_656, 127.88),
}


def main(argv: Sequence[str]) -> None:
    """Compares the published networks, or describes one."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        if _EPOCHS.present and _SCALE.value is None:
            raise ValueError("--epochs needs --scale")
        if _PRESET.value is None:
            if (
                _SET.value
                or _SCALE.value is not None
                or _NUM_CLASSES.present
                or _SETTINGS.value
            ):
                raise ValueError(
                    "--set, --scale, --num_classes and --settings need --preset"
                )
            sys.exit(min(_compare_published(), 1))
        config = override_recipe(presets.find(_PRESET.value), _SET.value)
        if _SETTINGS.value:
            cli.log(setting_list.render(setting_list.list_settings(config)))
            return
        _describe(config)
        if _SCALE.value is not None:
            _describe_scaled(config, factor=_SCALE.value, num_epochs=_EPOCHS.value)


def _describe(config: TrainConfig) -> None:
    cli.load_tensorflow()
    from classifier.models.factory import build_network
    from classifier.models.flops import describe

    model = build_network(
        config.model, image_size=config.image.size, num_classes=_NUM_CLASSES.value
    )
    cli.log(describe(model))


def _describe_scaled(config: TrainConfig, *, factor: float, num_epochs: float) -> None:
    model, size = scaling.scale(
        config.model,
        image_size=config.image.size,
        factor=factor,
        num_epochs=num_epochs,
    )
    image = dataclasses.replace(config.image, size=size)
    _describe(dataclasses.replace(config, model=model, image=image))
    settings = {
        "model.name": model.name,
        "model.width_multiplier": model.width_multiplier,
        "model.dropout_rate": model.dropout_rate,
        "model.stochastic_depth_rate": model.stochastic_depth_rate,
        "image.size": size,
        "augment.magnitude": scaling.randaugment_magnitude(size),
    }
    cli.log("\n".join(f"  --set={name}={value}" for name, value in settings.items()))


def _compare_published() -> int:
    """Prints a row for each published network; returns how many differ."""
    cli.load_tensorflow()
    from classifier.models.factory import build_network, count_parameters
    from classifier.models.flops import count_multiply_adds

    cli.log(
        f"{'':18}{'parameters':^26}{'billion FLOPs':^18}\n"
        f"{'network':18}{'published':>13}{'counted':>13}{'published':>11}{'counted':>9}"
    )
    differing = 0
    for (depth, size), (parameters, flops) in PUBLISHED.items():
        name = f"{variants.PREFIX}{depth}_{size}"
        model = build_network(
            presets.PRESETS[name].model, image_size=size, num_classes=1000
        )
        counted = count_parameters(model)
        counted_flops = round(2 * count_multiply_adds(model) / 1e9, 2)
        is_equal = (counted, counted_flops) == (parameters, flops)
        differing += not is_equal
        cli.log(
            f"{name:18}{parameters:>13,}{counted:>13,}{flops:>11.2f}"
            f"{counted_flops:>9.2f}  {'equal' if is_equal else 'DIFFERENT'}"
        )
    return differing


if __name__ == "__main__":
    cli.run(main, FLAGS)
