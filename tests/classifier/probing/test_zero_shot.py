import io

import numpy as np
import pytest
import safetensors.numpy

from classifier.probing.zero_shot import make_head, read_class_embeddings


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def read(path, num_classes=3, size=4):
    return read_class_embeddings(str(path), num_classes=num_classes, size=size)


def test_logits_are_scaled_cosines(rows):
    images = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32) * 9
    found = make_head(rows * 7).logits(images)
    for image, of_image in zip(images, found, strict=True):
        lengths = np.sqrt((image**2).sum()) * np.sqrt((rows**2).sum(axis=1))
        np.testing.assert_allclose(of_image, 100 * rows @ image / lengths, rtol=1e-4)


@pytest.mark.parametrize("factor", [1e-42, 1e38])
def test_no_length_is_too_small_or_too_large(factor):
    rows = np.array([[1, 2], [3, 0]], np.float32)
    np.testing.assert_allclose(
        make_head(rows * np.float32(factor)).kernel, make_head(rows).kernel, rtol=2e-3
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("ending", ["npy", "safetensors"])
def test_both_forms_are_read(tmp_path, rows, dtype, ending):
    path, written = tmp_path / f"names.{ending}", rows.astype(dtype)
    if ending == "npy":
        np.save(path, np.asfortranarray(written))
    else:
        safetensors.numpy.save_file({"text": written}, path)
    found = read(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, written.astype(np.float32))


def as_npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        as_npy(np.array([{}], object)),
        as_npy(np.zeros((4, 4), np.float32)),
        as_npy(np.zeros((3, 4), np.int64)),
        as_npy(np.zeros((3, 4), np.float32)),
        as_npy(np.full((3, 4), np.inf, np.float32)),
        as_npy(np.ones((3, 4), np.float32))[:-1],
        as_npy(np.ones((3, 4), np.float32)).replace(b"(3, 4)", b"(3e9)"),
        as_npy(np.ones((3, 4), np.float32)).replace(b"(3, 4), }", b"(3, 4)((("),
    ],
)
def test_what_is_no_such_array_is_one_line(tmp_path, content):
    path = tmp_path / "names.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"names\.npy") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_safetensors_hold_one_tensor(tmp_path, rows):
    path = tmp_path / "names.safetensors"
    for content in (b"x", safetensors.numpy.save({"a": rows, "b": rows})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"names\.safetensors cannot be read"):
            read(path)


def test_an_address_is_no_path():
    with pytest.raises(OSError, match="cannot be reached"):
        read("https://a.b/names.npy")


def test_safetensors_of_bfloat16_say_so(tmp_path, rows):
    content = safetensors.numpy.save({"text": rows.astype(np.float16)})
    path = tmp_path / "names.safetensors"
    # The header, which is padded by spaces, keeps its length.
    path.write_bytes(content.replace(b'"F16"', b'"BF16"').replace(b" ", b"", 1))
    with pytest.raises(ValueError, match="no type BF16; store float32"):
        read(path)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_row_without_a_direction_is_named(tmp_path, rows, value):
    rows[1] = value
    np.save(tmp_path / "names.npy", rows)
    with pytest.raises(ValueError, match="in row 1, counted from 0"):
        read(tmp_path / "names.npy")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.npy or \.safetensors"):
        read(tmp_path / "names.pkl")
    with pytest.raises(FileNotFoundError, match=r"names\.npy"):
        read(tmp_path / "names.npy")
