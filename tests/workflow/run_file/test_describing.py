import dataclasses
import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workflow.run_file import page
from workflow.run_file import describing
from workflow.run_file.config import RunConfig
from workflow.run_file.reading import read_run


def names(config, prefix=""):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from names(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def described():
    return {
        f"{section.name}.{name}".lstrip("."): text
        for section in describing.sections()
        for name, (_, text) in section.settings.items()
    }


def test_every_setting_is_described_in_a_sentence():
    assert set(described()) == set(names(RunConfig()))
    for name, text in described().items():
        assert text.endswith("."), name
        assert text[0].isupper() or text[0] in "`-", name


def test_the_template_is_a_run_file_of_defaults(tmp_path):
    text = describing.write_template({}, "All settings.\n    indented")
    path = tmp_path / "run.toml"
    path.write_text(text)
    config = read_run(str(path))
    assert config == RunConfig(output=str(tmp_path / "run"))
    assert all(len(line) <= 88 for line in text.splitlines())


def test_a_line_without_its_mark_is_a_setting(tmp_path):
    """Who removes the mark before a default keeps the default."""
    lines = describing.write_template({}, "All settings.").splitlines()
    assignments = [
        line.removeprefix("# ")
        for line in lines
        if line.startswith("[")
        or (line.startswith("# ") and line.split()[1:3][1:] == ["="])
    ]
    given = [line for line in assignments if not line.endswith("=")]
    path = tmp_path / "run.toml"
    path.write_text("\n".join(given))
    assert read_run(str(path)) == RunConfig(output=str(tmp_path / "run"))
    tables = tomllib.loads(path.read_text())
    assert set(RunConfig.__dataclass_fields__) == set(tables)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_given_values_are_written_as_they_are(tmp_path_factory, name):
    source = f"folder:/{name}"
    given_values = {"data": {"labeled": source}, "": {"output": "/run"}}
    text = describing.write_template(given_values, "Header")
    assert tomllib.loads(text) == {
        **{name: {} for name in RunConfig.__dataclass_fields__ if name != "output"},
        "runner": {"dataflow": {}},
        "data": {"labeled": source, "digits": {}},
        "output": "/run",
    }


def test_the_page_lists_all_settings():
    text = page.PATH.read_text()
    assert page.update(text) == text
