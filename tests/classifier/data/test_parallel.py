import pytest

from classifier.data import parallel
from classifier.data.sources import open_source
from stage.system import num_cores
from tests.images import FORMS, open_labeled, random_images, write_folder

IMAGES = random_images(150)


@pytest.mark.parametrize("form", FORMS)
def test_each_file_is_read_in_order(form, tmp_path):
    source = open_labeled(form, tmp_path, IMAGES[:11], [i % 3 for i in range(11)])

    def read(file, examples):
        return file, list(examples)

    found = list(parallel.read_each(source.reader, source.files, read))
    assert found == [
        (file, list(source.reader.examples(file))) for file in source.files
    ]


def test_what_is_not_asked_for_is_not_read(tmp_path):
    write_folder(tmp_path, IMAGES[:1] * 1000)
    source = open_source(f"folder:{tmp_path}")
    read = []
    files = 64 * (2 * num_cores() + 1)
    results = parallel.read_each(
        source.reader, source.files * 10, lambda file, _: read.append(file)
    )
    next(results)
    results.close()
    assert 64 <= len(read) <= files


def test_an_error_is_raised(tmp_path):
    write_folder(tmp_path, IMAGES)
    source = open_source(f"folder:{tmp_path}")

    def read(file, examples):
        raise OSError(file.name)

    with pytest.raises(OSError, match=r"00000\.png"):
        list(parallel.read_each(source.reader, source.files, read))
