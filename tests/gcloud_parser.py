"""gcloud's own parser for command lines. It needs neither network nor a login."""

import json
import re
import shutil
import subprocess

import pytest

needs_gcloud = pytest.mark.skipif(
    shutil.which("gcloud") is None, reason="there is no gcloud"
)
#: A word may have a part in quotes; the last one may not be the number of a file.
_WORD = r"""(?:[^\s'"|;&<>()]|'[^']*'|"[^"]*")+(?![\w>])"""
_COMMAND = re.compile(rf"\bgcloud(?:[ \t]+{_WORD})+")
_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def refusals(commands, folder):
    """Returns what gcloud has against commands, by the command; nothing if they parse.

    `folder` is for a file with the commands.
    """
    file = folder / "commands.json"
    file.write_text(json.dumps([{"command_string": each} for each in commands]))
    lint = ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"]
    found = json.loads(subprocess.check_output(lint, text=True))
    assert len(found) == len(commands)
    return {
        each["command_string"]: each["error_message"]
        for each in found
        if not each["success"]
    }


def commands_of(document):
    """Yields the gcloud commands of a document's blocks, names for its variables."""
    for block in _BLOCK.findall(document):
        text = re.sub(r"\$\(.*?\)", "1", re.sub(r"(?m)#.*$", "", block))
        commands = commands_in(re.sub(r"\$\{?\w+\}?", "name", text))
        # An example of what is printed is cut short.
        yield from (command for command in commands if "..." not in command)


def commands_in(script):
    """Yields the gcloud commands of a script, each up to what ends it in a shell.

    Flags follow the other words, which the parser would take for the value of a flag
    that has none; values are expected behind an equals sign.
    """
    for command in _COMMAND.findall(script.replace("\\\n", " ")):
        words = [match[0] for match in re.finditer(_WORD, command)]
        yield " ".join(sorted(words, key=lambda word: word.startswith("-")))
