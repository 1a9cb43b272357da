from tests.images import blank, write_folder
from workflow.choice import images
from workflow.choice.cost import Counts


def test_images_of_folders_are_counted_and_labeled_ones_measured(tmp_path):
    write_folder(tmp_path / "labeled" / "ant", [blank(40, 100)] * 2)
    write_folder(tmp_path / "labeled" / "bee", [b"no image"])
    write_folder(tmp_path / "all", [blank(500, 500)] * 7)
    found = images.count(
        f"folder:{tmp_path}/labeled",
        f"folder:{tmp_path}/all",
        unlabeled_image_feature=None,
    )
    assert found == (Counts(labeled=3, unlabeled=7, classes=2), 40)
