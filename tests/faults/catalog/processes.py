"""Faults: processes, sockets and streams."""

from tests.faults.endings import FAILED, REFUSED, RESUMABLE, WORKS, Fault

TITLE = "Processes, sockets and streams"
FAULTS = (
    Fault(
        "another host that connects to a local job",
        WORKS,
        "it cannot: all sockets listen on loopback",
    ),
    Fault(
        "other user of the machine who requests a file from a local job",
        WORKS,
        "the request is denied: the job's servers answer only its workers",
        mentions=("UNAUTHENTICATED",),
    ),
    Fault(
        "Ctrl-C after `--engine=auto` tried the engines",
        RESUMABLE,
        mentions=("interrupted; the same command resumes it",),
    ),
    Fault("signal after OpenVINO freed its networks", WORKS),
    Fault(
        "stdout without a reader",
        WORKS,
        "as when it is piped into `head`: the work is completed; exit status 141",
    ),
    Fault(
        "stdout on a full disk",
        WORKS,
        "the work is completed; exit status 1",
        mentions=("No space left on device",),
    ),
    Fault("closed standard streams", WORKS, "exit status 0"),
    Fault(
        "log of a failed job that cannot be saved",
        FAILED,
        "the message has both errors",
        mentions=("out of memory on the accelerator", "No space left on device"),
    ),
    Fault("flag with an empty value", REFUSED, mentions=("--output", "''")),
    Fault(
        "runner that is not supported",
        REFUSED,
        "Beam has more runners",
        mentions=("SparkRunner", "PrismRunner"),
    ),
    Fault(
        "runner of a cluster without its job server",
        REFUSED,
        mentions=("PortableRunner", "--job_endpoint"),
    ),
    Fault("engine for a model handler", REFUSED, mentions=("--engine", "--teacher")),
    Fault(
        "throughput without `--estimate`", REFUSED, mentions=("--images_per_second",)
    ),
    Fault("setting that memory cannot hold", REFUSED, mentions=("global_batch_size",)),
    Fault("setting that takes minutes to compile", REFUSED, mentions=("num_ops", "16")),
)
