"""The direction of imports, beyond the contracts that import-linter checks."""

import ast
import graphlib

import pytest

from tests.commands import ROOT

#: The floor without commands; every other package has only commands on top.
FLOOR = "stage"
PACKAGES = (
    *("classifier", "pseudo_label", "teacher", "student", "beam_jobs", "workflow"),
    FLOOR,
)


def modules():
    """Returns the modules of all packages by name, and their paths."""
    paths = {}
    for package in (*PACKAGES, "noisy_student", "benchmarks", "examples", "infra"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            paths[name.removesuffix(".__init__")] = path
    return paths


def imports_of(path, names):
    """Returns the modules that a module imports: anywhere, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & names) or {node.module}
    return found & names


def test_no_module_takes_part_in_an_import_circle():
    paths = modules()
    graph = {name: imports_of(path, set(paths)) for name, path in paths.items()}
    assert sum(map(len, graph.values())) > 500
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(paths)


def test_a_circle_inside_functions_would_be_found(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    from p import b\n")
    (tmp_path / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import f\n"
    )
    names = {"p.a", "p.b"}
    graph = {f"p.{name}": imports_of(tmp_path / f"{name}.py", names) for name in "ab"}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph).prepare()


#: Files on top of a package that are no commands: what it is about.
OTHER_FILES = {"workflow": ("stages.py",)}


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != FLOOR])
def test_a_file_on_top_of_a_package_is_a_command(package):
    files = set((ROOT / package).glob("*.py"))
    commands = {
        path for path in files if 'if __name__ == "__main__":' in path.read_text()
    }
    others = {"__init__.py", *OTHER_FILES.get(package, ())}
    assert files - commands == {ROOT / package / name for name in others}
    folders = [
        path for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()
    ]
    assert commands or folders


def test_every_sub_package_says_what_it_holds():
    for path in ROOT.rglob("*/__init__.py"):
        package = path.relative_to(ROOT).parts[0]
        if package in PACKAGES:
            assert ast.get_docstring(ast.parse(path.read_text())), path
