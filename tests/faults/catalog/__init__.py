"""All faults that are tested, by subject; `docs/faults.md` is generated from them."""

from tests.faults.catalog import (
    files,
    images,
    outputs,
    processes,
    records,
    sources,
    teachers,
    trust,
    work,
)

SECTIONS = (images, files, records, sources, teachers, trust, outputs, work, processes)
FAULTS = tuple(fault for section in SECTIONS for fault in section.FAULTS)
