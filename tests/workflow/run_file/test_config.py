import glob

import pytest

from workflow.run_file.config import (
    DataflowSection,
    DataSection,
    DigitsSection,
    LabelingSection,
    RoundsSection,
    RunConfig,
    RunnerSection,
    SelectionSection,
    StudentSection,
    TeacherSection,
)


@pytest.mark.parametrize(
    ("section", "values", "mentions"),
    [
        (TeacherSection, {"folds": 1}, "folds"),
        (TeacherSection, {"folds": 21}, "20"),
        (TeacherSection, {"members": 21}, "20"),
        (TeacherSection, {"folds": 3, "members": 2}, "members=2"),
        (TeacherSection, {"features": "keras:x", "folds": 3}, "folds"),
        (TeacherSection, {"features": "keras:x", "members": 2}, "members"),
        (TeacherSection, {"features": "keras:x", "consistency": "on"}, "consistency"),
        (LabelingSection, {"neighbors": 1001}, "1001"),
        (SelectionSection, {"max_copies": 1001}, "1001"),
        (RoundsSection, {"count": 21}, "21"),
        (RoundsSection, {"seed": 2**32}, "seed"),
        (RunnerSection, {"name": "dataflow"}, "dataflow.project"),
        (DataflowSection, {"bucket": "gs://UPPER"}, "UPPER"),
        (RunConfig, {"output": ""}, "output"),
        (
            DataSection,
            {"labeled": "a", "digits": DigitsSection(labels_per_class=5)},
            "data.digits",
        ),
        (
            RunConfig,
            {
                "labeling": LabelingSection(neighbors=10),
                "teacher": TeacherSection(folds=3),
            },
            "labeling.neighbors",
        ),
        (
            RunConfig,
            {
                "data": DataSection(exclude=tuple(map(str, range(21)))),
            },
            "data.exclude",
        ),
    ],
)
def test_wrong_settings_are_refused(section, values, mentions):
    with pytest.raises(ValueError, match=mentions):
        section(**values)


@pytest.mark.parametrize(
    ("values", "count"),
    [({}, 1), ({"members": 3}, 3), ({"folds": 4}, 4), ({"folds": 4, "members": 4}, 4)],
)
def test_a_teacher_has_a_member_for_each_fold(values, count):
    assert TeacherSection(**values).num_members == count


def test_labels_may_be_blended_unless_confidences_are_calibrated():
    for teacher in (TeacherSection(folds=3), TeacherSection(features="keras:x")):
        RunConfig(labeling=LabelingSection(neighbors=0), teacher=teacher)
    RunConfig(labeling=LabelingSection(neighbors=10))


def test_the_digits_are_images_in_the_directory_of_the_run():
    digits = DigitsSection(labels_per_class=5, calibration_images=200)
    config = RunConfig(
        output="runs/[x]", data=DataSection(digits=digits), rounds=RoundsSection(seed=3)
    )
    images = config.images
    assert images.labeled == "tfds:digits/labels5_calibration200_seed3:labeled"
    assert images.calibration == (
        "tfds:digits/labels5_calibration200_seed3:calibration"
    )
    assert images.unlabeled == (
        f"tfrecord:{glob.escape('runs/[x]')}/data/unlabeled/*.tfrecord"
    )
    assert images.data_dir == "runs/[x]/data"
    assert len(images.excluded()) == 1


def test_excluded_are_all_labeled_images_each_once():
    data = DataSection(labeled="a", evaluation="b", calibration="c")
    assert data.excluded() == ("b", "a", "c")
    assert DataSection(labeled="a", evaluation="a").excluded() == ("a",)
    assert DataSection(labeled="a", exclude=()).excluded() == ()


def test_defaults_make_a_run():
    config = RunConfig()
    assert config.student == StudentSection()
    assert not config.is_split
    assert config.images == config.data
