"""Faults: processes and sockets."""

from tests.faults.endings import FAILED, LABELED, REFUSED, RESUMABLE, Fault

TITLE = "Processes and sockets"
FAULTS = (
    Fault(
        "host that connects to a local job",
        LABELED,
        "all sockets listen on loopback",
    ),
    Fault(
        "user of the same machine who asks a local job for a file",
        REFUSED,
        "its servers know their workers",
        mentions=("UNAUTHENTICATED",),
    ),
    Fault(
        "Ctrl-C after the engines were tried",
        RESUMABLE,
        mentions=("interrupted; the same command resumes it",),
    ),
    Fault("signal after OpenVINO's networks were freed", LABELED),
    Fault(
        "output that nobody reads",
        LABELED,
        "the work is done and complete; exit status 141",
    ),
    Fault(
        "output that goes to a full disk",
        LABELED,
        "the work is done and complete; exit status 1",
        mentions=("No space left on device",),
    ),
    Fault("standard streams that are closed", LABELED),
    Fault(
        "log that cannot be saved",
        FAILED,
        "by the real error",
        mentions=("out of memory on the accelerator", "No space left on device"),
    ),
    Fault("flag without a value", REFUSED, mentions=("--output", "''")),
    Fault("runner that Beam does not have", REFUSED, mentions=("'NoSuchRunner'",)),
)
