"""gcloud's own parser for command lines. It needs neither network nor a login."""

import json
import re
import shutil
import subprocess

import pytest

needs_gcloud = pytest.mark.skipif(
    shutil.which("gcloud") is None, reason="there is no gcloud"
)
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
        text = re.sub(r"#.*", "", block.replace("\\\n", " "))
        text = re.sub(r"\$\(.*?\)", "1", text)
        for line in re.split(r"\n|&&|\|", re.sub(r"\$\{?\w+\}?", "name", text)):
            words = line.split()
            if words[:1] == ["gcloud"]:
                yield " ".join(words)
