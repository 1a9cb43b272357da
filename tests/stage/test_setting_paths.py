from stage.setting_paths import flatten

NESTED = {"a": {"b": {"c": 1}, "d": [2, {"e": 3}]}, "f": {}, "g": {"h": {}}, "i": None}


def test_paths_lead_to_the_values_in_order():
    found = list(flatten(NESTED))
    assert found == [("a.b.c", 1), ("a.d", [2, {"e": 3}]), ("i", None)]


def test_groups_without_settings_are_kept_on_demand():
    found = dict(flatten(NESTED, keep_empty=True))
    assert {path for path, value in found.items() if value == {}} == {"f", "g.h"}
    assert (found["a.b.c"], found["i"]) == (1, None)


def test_every_path_has_the_prefix():
    with_prefix = list(flatten(NESTED, "x."))
    assert with_prefix == [(f"x.{path}", value) for path, value in flatten(NESTED)]
