"""Answers like gcloud for one queued resource and one bucket, by a scenario in a file.

The scenario holds `machines`, a list of what happens to each machine that is created,
one entry for each look at it; the last entry stays. An entry is a state of the request,
one of the keys of `_EVENTS`, "gone" for a request that somebody else has deleted,
"silence" for an answer without a word, or "N hours" for a TPU VM that was created so
long ago. A machine that is on has a host that reports so, except at an entry that ends
in "booting". `lost` has by action the number of the call whose answer is lost.
"""

import datetime
import fnmatch
import json
import pathlib
import sys

WORKDIR = "gs://b/runs/teacher"
_EVENTS = {
    "complete": {f"{WORKDIR}/COMPLETED": ""},
    "fail": {f"{WORKDIR}.machine/failed-w-0": "a traceback"},
    "stop": {f"{WORKDIR}.machine/stopped-w-0": "a log"},
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


def created(entry):
    """Returns when a TPU VM was created, as Google writes it."""
    hours = float(entry.split()[0]) if "hours" in entry else 0
    now = datetime.datetime.now(tz=datetime.UTC)
    return (now - datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def describe(scenario, words):
    if scenario["now"] is None or f"--zone={scenario['zone']}" not in words:
        fail(_NO_SUCH)
    story = scenario["machines"][scenario["now"]]
    entry = story[min(scenario["looks"], len(story) - 1)]
    if "tpu-vm" in words:
        entry = story[min(scenario["looks"], len(story)) - 1]
        state = "PREEMPTED" if entry == "vm preempted" else "READY"
        say(f"{state}\t{created(entry)}")
        return
    scenario["looks"] += 1
    if entry == "offline":
        save(scenario)
        fail("ERROR: (gcloud) connection refused")
    if entry == "hang":
        save(scenario)
        pathlib.Path(scenario["fifo"]).write_text("here")
    if entry == "silence":
        save(scenario)
        return
    if entry == "gone":
        scenario["now"] = None
        save(scenario)
        fail(_NO_SUCH)
    scenario["objects"] |= _EVENTS.get(entry, {})
    is_on = entry in _EVENTS or "hours" in entry or entry == "ACTIVE"
    if is_on and not entry.endswith("booting"):
        scenario["objects"][f"{WORKDIR}.machine/started-w-0"] = "1"
    say("ACTIVE" if is_on else entry)


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
    if scenario["refusals"]:
        scenario["refusals"] -= 1
        save(scenario)
        fail("ERROR: (gcloud) FAILED_PRECONDITION: another operation is in progress")
    scenario["now"] = None


def match(scenario, *patterns):
    """Returns the names of the objects that match any pattern."""
    return [
        name
        for name in scenario["objects"]
        if any(fnmatch.fnmatchcase(name, each) for each in patterns)
    ]


def storage(scenario, words):
    action, *addresses = words
    if action == "cp":
        path = pathlib.Path(addresses[0])
        scenario["objects"][addresses[1]] = f"{path.stat().st_size} bytes"
    elif action == "rm":
        for address in addresses:
            del scenario["objects"][address]
    elif action == "buckets":
        say(scenario["location"])
    elif action == "objects":
        patterns = [word for word in addresses[1:] if not word.startswith("--")]
        found = [name for each in patterns for name in match(scenario, each)]
        say("\n".join(found[:1]))
    else:
        (pattern,) = addresses
        found = match(scenario, pattern, f"{pattern.rstrip('/')}/*")
        if not found:
            fail("ERROR: (gcloud.storage.ls) One or more URLs matched no objects.")
        say("\n".join(found))


def save(scenario):
    pathlib.Path(sys.argv[1]).write_text(json.dumps(scenario))


def main():
    scenario = json.loads(pathlib.Path(sys.argv[1]).read_text())
    words = [word for word in sys.argv[2:] if word != "--quiet"]
    calls = scenario["calls"]
    calls.append(words)
    save(scenario)
    words = [word for word in words if word != "alpha"]
    if words[0] == "storage":
        storage(scenario, words[1:])
    else:
        assert words[:2] == ["compute", "tpus"], words
        actions = {"create": create, "describe": describe, "delete": delete}
        action = words[3]
        actions[action](scenario, words)
        save(scenario)
        if scenario["lost"].get(action) == sum(action in each for each in calls):
            fail("ERROR: (gcloud) connection reset by peer")
    save(scenario)


if __name__ == "__main__":
    main()
