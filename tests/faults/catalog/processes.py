"""Faults: processes and sockets."""

from tests.faults.endings import LABELED, REFUSED, RESUMABLE, Fault

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
)
