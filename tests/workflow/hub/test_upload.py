"""Names of repositories; what is uploaded is tested with `workflow.push`."""

import pytest

from workflow.hub.upload import check_repository


@pytest.mark.parametrize("name", ["me/birds", "a-b/c.d_e", "x1/2y"])
def test_a_repository_is_an_owner_and_a_name(name):
    check_repository(name)


@pytest.mark.parametrize(
    "name", ["", "birds", "a/b/c", "me/", "../x", "m\u00f6/we", "a/b\n"]
)
def test_any_other_name_is_refused(name):
    with pytest.raises(ValueError, match="--repository: expected OWNER/NAME"):
        check_repository(name)
