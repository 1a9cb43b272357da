import pytest

from stage.validation import check, check_positive, check_rate


def test_a_condition_that_does_not_hold_is_an_error():
    check(True, "size is 3")
    with pytest.raises(ValueError, match="size is 3"):
        check(False, "size is 3")


@pytest.mark.parametrize(
    ("checked", "good", "bad"),
    [
        (check_rate, [0.0, 0.5, 0.999], [-0.001, 1.0, float("nan")]),
        (check_positive, [1, 1e-9], [0, -1, float("nan")]),
    ],
)
def test_values_out_of_range_are_named(checked, good, bad):
    for value in good:
        checked("decay", value)
    for value in bad:
        with pytest.raises(ValueError, match=f"decay.*{value}"):
            checked("decay", value)
