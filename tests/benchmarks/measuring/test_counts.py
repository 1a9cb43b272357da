import pytest

from benchmarks.measuring.counts import parse_counts


def test_numbers_have_commas_between():
    assert parse_counts("--sizes", "1000") == [1000]
    assert parse_counts("--sizes", "20,3") == [20, 3]


@pytest.mark.parametrize("text", ["", "0", "3,", "-1", "1.5", "1 000", "1,x"])
def test_others_are_refused(text):
    with pytest.raises(ValueError, match="--sizes: expected positive numbers"):
        parse_counts("--sizes", text)
