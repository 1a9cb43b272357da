"""The commands of the documentation, typed as they stand."""

import subprocess

import click
import pytest

from infra.tpu import job
from infra.tpu.slices import find_slice
from tests import documents
from tests.commands import ROOT, find_command
from tests.test_layout import DOCUMENTS
from workflow import __main__ as program
from workflow.run_file.reading import read_run

TEXTS = {path.stem: path.read_text() for path in DOCUMENTS}
PAGES = [
    name
    for name, text in TEXTS.items()
    if any(block.is_shell for block in documents.blocks(text))
]
#: Those that a new user types from top to bottom.
GUIDES = pytest.mark.parametrize(
    "page", ["dataflow", "tpu"], indirect=True, scope="module"
)
LANGUAGES = {"sh", "text", "python", "toml", "json", "yaml"}


@pytest.fixture(scope="module", params=PAGES)
def page(request):
    return request.param


@pytest.fixture(scope="module")
def walk(page, tmp_path_factory):
    return documents.walk(TEXTS[page], tmp_path_factory.mktemp(page))


@GUIDES
def test_blocks_say_what_they_are(page):
    found = {block.line: block.language for block in documents.blocks(TEXTS[page])}
    assert {line for line, name in found.items() if name not in LANGUAGES} == set()


@documents.needs_shellcheck
def test_shellcheck_finds_nothing(page):
    assert documents.shellcheck(documents.shell_script(TEXTS[page])) == ""


def test_every_command_is_found_and_every_variable_set(walk):
    assert walk.status == 0, walk.output
    assert "not found" not in walk.output
    assert walk.calls
    # A variable that is not set would leave a flag or a bucket without a name.
    for call in walk.calls:
        for word in call:
            assert not word.endswith(("=", "gs://")), call
            assert "gs:///" not in word, call


@documents.needs_gcloud
@GUIDES
def test_gcloud_parses_its_commands(walk, tmp_path):
    commands = walk.calls_of("gcloud")
    assert len(commands) > 10
    assert documents.refused_by_gcloud(commands, tmp_path) == {}


@documents.needs_gcloud
def test_gcloud_refuses_what_it_does_not_know(tmp_path):
    commands = [
        ["storage", "rm", "--recursive", "gs://b/x"],
        ["compute", "tpus", "tpu-vm", "remove", "rs"],
        ["compute", "tpus", "tpu-vm", "delete", "rs", "--zome=z"],
    ]
    refused = documents.refused_by_gcloud(commands, tmp_path)
    assert [line.split()[4] for line in refused] == ["remove", "delete"]


def test_make_knows_its_targets_and_variables(walk):
    for words in walk.calls_of("make"):
        given = any(word.startswith("PRESET=") for word in words)
        # Without a recipe make would first choose one, by images that are not here.
        recipe = [] if given or words[0] == "tpu-compile" else ["PRESET=tiny"]
        ended = subprocess.run(
            ["make", "--dry-run", *words, *recipe],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (words, ended.stderr)


@GUIDES
def test_python_commands_parse(walk):
    """As the shell passes them on; `tests.test_layout` reads those of other pages."""
    for option, module, *words in walk.calls_of("python"):
        assert option == "-m"
        flags = words[: words.index("--")] if "--" in words else words
        assert find_command(module).FLAGS.parse([module, *flags]) == [module]


def test_commands_of_noisy_student_parse(walk):
    for name, *words in walk.calls_of("noisy-student"):
        command = program.main.get_command(click.Context(program.main), name)
        assert command is not None, name
        settings = command.make_context(name, list(words)).params
        read_run(None, ["output=x", *settings.get("assignments", ())])


def test_run_files_are_read(page, tmp_path):
    for block in documents.blocks(TEXTS[page]):
        if block.language == "toml":
            (tmp_path / "run.toml").write_text(block.text)
            read_run(str(tmp_path / "run.toml"), ["output=x"])


# --- TPU -----------------------------------------------------------------------
TPU_PAGE = pytest.mark.parametrize("page", ["tpu"], indirect=True, scope="module")


@TPU_PAGE
def test_trainings_fit_their_slices(walk):
    commands = [words for words in walk.calls_of("python") if "infra.tpu" in words]
    assert commands
    for words in commands:
        (accelerator_type,) = [
            word.partition("=")[2]
            for word in words
            if word.startswith("--accelerator_type=")
        ]
        tpu = find_slice(accelerator_type)
        assert job.plan(words[words.index("--") + 1 :], tpu).workdir.startswith("gs://")


@TPU_PAGE
def test_shards_fit_the_hosts_of_the_slice_created_before(walk):
    hosts, checked = 1, 0
    for name, *words in walk.calls:
        types = [word for word in words if word.startswith("--accelerator-type=")]
        if types:
            hosts = find_slice(types[0].partition("=")[2]).hosts
        shards = [word for word in words if word.startswith("--set=input_shards=")]
        if name == "python" and "--distributed=auto" in words:
            assert hosts > 1 and int(shards[0].rpartition("=")[2]) % hosts == 0
            checked += 1
    assert checked


@TPU_PAGE
def test_what_is_billed_by_the_hour_is_deleted_after(walk):
    alive = set()
    for words in walk.calls_of("gcloud"):
        names = [word for word in words if not word.startswith("-")]
        for verb, change in (("create", alive.add), ("delete", alive.remove)):
            if verb in names:
                change((names[names.index(verb) - 1], names[-1]))
    # A node pool goes with its cluster; a bucket is named in the last section.
    assert {group for group, _ in alive} == {"identity", "buckets", "node-pools"}


# --- the walk ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo $NO_SUCH_NAME", "NO_SUCH_NAME"),
        ("no-such-program", "not found"),
        ("gcloud ssh --command='no-such-program'", "not found"),
        ('gcloud ssh --command="echo \\$NO_SUCH_NAME"', "NO_SUCH_NAME"),
        ("cd nowhere", "nowhere"),
    ],
)
def test_a_walk_ends_at_what_a_user_could_not_do(tmp_path, command, said):
    page = f"```sh\nexport NAME=value\ngcloud auth login\n{command}\n```\n"
    walk = documents.walk(page, tmp_path)
    assert walk.status != 0
    assert said in walk.output
    assert walk.calls[0] == ["gcloud", "auth", "login"]


def test_a_walk_uses_what_earlier_blocks_set(tmp_path):
    parts = [("sh", "export A=1"), ("text", "no-program"), ("sh", "make $A \\\n b")]
    page = "\n".join(f"```{language}\n{text}\n```\n" for language, text in parts)
    walk = documents.walk(page, tmp_path)
    assert (walk.status, walk.calls) == (0, [["make", "1", "b"]])
