"""Answers like gcloud for one queued resource and one bucket, by a scenario in a file.

The scenario holds `machines`, a list of what happens to each machine that is created,
one entry for each look at it; the last entry stays. An entry is a state of the request
or one of the keys of `_EVENTS`.
"""

import json
import pathlib
import sys

WORKDIR = "gs://b/runs/teacher"
_EVENTS = {
    "complete": {f"{WORKDIR}/COMPLETED": ""},
    "fail": {f"{WORKDIR}.machine/failed-w-0": "a traceback"},
    "vm preempted": {},
    "offline": {},
    "hang": {},
}
_NO_SUCH = "ERROR: (gcloud) NOT_FOUND: Resource was not found."


def say(text):
    sys.stdout.write(text + "\n")


def fail(text):
    sys.stderr.write(text + "\n")
    sys.exit(1)


def describe(scenario, words):
    if scenario["now"] is None:
        fail(_NO_SUCH)
    story = scenario["machines"][scenario["now"]]
    entry = story[min(scenario["looks"], len(story) - 1)]
    if "tpu-vm" in words:
        entry = story[min(scenario["looks"], len(story)) - 1]
        say("PREEMPTED" if entry == "vm preempted" else "READY")
        return
    scenario["looks"] += 1
    if entry == "offline":
        save(scenario)
        fail("ERROR: (gcloud) connection refused")
    if entry == "hang":
        pathlib.Path(scenario["fifo"]).write_text("here")
    scenario["objects"] |= _EVENTS.get(entry, {})
    say("ACTIVE" if entry in _EVENTS else entry)


def create(scenario, words):
    if scenario["now"] is not None:
        fail("ERROR: (gcloud) ALREADY_EXISTS")
    if scenario["created"] == len(scenario["machines"]):
        fail("ERROR: (gcloud) RESOURCE_EXHAUSTED: Quota limit has been exceeded.")
    scenario["now"], scenario["looks"] = scenario["created"], 0
    scenario["created"] += 1
    (script,) = [word for word in words if "startup-script=" in word]
    scenario["script"] = pathlib.Path(script.rpartition("=")[2]).read_text()


def delete(scenario, words):
    if scenario["now"] is None:
        fail(_NO_SUCH)
    scenario["now"] = None


def storage(scenario, words):
    action, *addresses = words
    if action == "cp":
        path = pathlib.Path(addresses[0])
        scenario["objects"][addresses[1]] = f"{path.stat().st_size} bytes"
    elif action == "rm":
        for address in addresses:
            del scenario["objects"][address]
    else:
        prefix = addresses[0].removesuffix("*")
        found = [name for name in scenario["objects"] if name.startswith(prefix)]
        if not found:
            fail("ERROR: (gcloud.storage.ls) One or more URLs matched no objects.")
        say("\n".join(found))


def save(scenario):
    pathlib.Path(sys.argv[1]).write_text(json.dumps(scenario))


def main():
    scenario = json.loads(pathlib.Path(sys.argv[1]).read_text())
    words = [word for word in sys.argv[2:] if word != "--quiet"]
    scenario["calls"].append(words)
    save(scenario)
    if words[0] == "storage":
        storage(scenario, words[1:])
    else:
        assert words[:2] == ["compute", "tpus"], words
        actions = {"create": create, "describe": describe, "delete": delete}
        actions[words[3]](scenario, words)
    save(scenario)


if __name__ == "__main__":
    main()
