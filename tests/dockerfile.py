"""The Dockerfile of Dataflow's workers, read line by line."""

import re

from tests.commands import ROOT


def instructions():
    """Yields the Dockerfile's instructions with their arguments."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        name, _, arguments = line.partition(" ")
        yield name, " ".join(arguments.split())


def arguments_of(name):
    """Returns the arguments of all instructions of a name."""
    return [arguments for found, arguments in instructions() if found == name]


def variables():
    """Returns what ENV sets."""
    words = [word for settings in arguments_of("ENV") for word in settings.split()]
    return dict(word.split("=", 1) for word in words)


def copied():
    """Returns the files and folders that COPY takes from the repository."""
    sources = [arguments.split()[:-1] for arguments in arguments_of("COPY")]
    return {name for names in sources for name in names}
