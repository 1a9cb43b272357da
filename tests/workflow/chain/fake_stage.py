"""A stage that takes no time, in place of any: a program without heavy imports.

Its result is a digest of its flags and of the results of the directories it reads, in
several files, each of which is made once. A second start goes on, or refuses other
flags, as real stages do. Variables say what else it is to do; each names stages by the
end of their directories:

- `FAKE_FAILING` prints lines and fails;
- `FAKE_WAITING` waits for a signal; at Ctrl-C it saves its state.
"""

import hashlib
import json
import os
import pathlib
import signal
import sys
import time

from stage import lifeline

NUM_FILES = 3


def main():
    lifeline.watch()
    flags = [word.partition("=")[::2] for word in sys.argv[1:]]
    made = ("--output", "--workdir")
    (output,) = (value for name, value in flags if name in made)
    config = {
        "flags": sorted([name, value] for name, value in flags if "/" not in value),
        "read": [result_of(value) for name, value in flags if name not in made],
    }
    work(pathlib.Path(output), json.dumps(config))


def result_of(directory):
    path = pathlib.Path(directory, "result")
    return path.read_text() if path.exists() else ""


def work(output, config):
    output.mkdir(parents=True, exist_ok=True)
    if (output / "config.json").exists():
        if (output / "config.json").read_text() != config:
            sys.exit(f"error: {output} was begun with other settings")
        if (output / "COMPLETED").exists():
            show("already complete")
            return
    write(output / "config.json", config)
    for name in os.environ.get("FAKE_FAILING", "").split():
        if str(output).endswith(name):
            show(*(f"line {number}" for number in range(20)))
            sys.exit(3)
    for name in os.environ.get("FAKE_WAITING", "").split():
        if str(output).endswith(name):
            wait(output)
    for number in range(NUM_FILES):
        if not (output / f"part-{number}").exists():
            write(output / f"part-{number}", digest(config, number))
            show(f"{output.name}: part {number}")
    write(output / "result", digest(config, *map(str, range(NUM_FILES))))
    facts = {"seconds": 1.5, "files": {"result": 64}}
    write(output / "COMPLETED", json.dumps(facts))


def wait(output):
    def save(number, _):
        write(output / "saved", signal.Signals(number).name)
        sys.exit(75)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, save)
    show(f"{output.name}: waiting")
    while True:
        time.sleep(60)


def show(*lines):
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def digest(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def write(path, text):
    temporary = path.with_name(f".{path.name}.{os.getpid():032x}")
    temporary.write_text(text)
    temporary.rename(path)


if __name__ == "__main__":
    main()
