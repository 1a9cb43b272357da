import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stage.grouping import split_by


@given(numbers=st.lists(st.integers(0, 5), max_size=30))
def test_splitting_keeps_the_order_within_each_number(numbers):
    rows = np.zeros(len(numbers), [("row", "<i4"), ("other", "<u8")])
    rows["row"] = np.arange(len(numbers))
    found = {
        number: part["row"].tolist()
        for number, part in split_by(rows, np.array(numbers, int))
    }
    assert found == {
        number: [i for i, other in enumerate(numbers) if other == number]
        for number in sorted(set(numbers))
    }
