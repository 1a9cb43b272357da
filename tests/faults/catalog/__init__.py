"""All faults that are tested, by subject; `docs/faults.md` is generated from them."""

from tests.faults.catalog import (
    artifacts,
    datasets,
    files,
    images,
    labeled,
    outputs,
    processes,
    records,
    runs,
    sources,
    tables,
    teachers,
    trust,
    work,
)

SECTIONS = (
    images,
    labeled,
    files,
    records,
    tables,
    sources,
    teachers,
    trust,
    runs,
    outputs,
    work,
    datasets,
    artifacts,
    processes,
)
FAULTS = tuple(fault for section in SECTIONS for fault in section.FAULTS)
