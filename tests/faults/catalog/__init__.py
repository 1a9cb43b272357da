"""All faults that are tested, by subject; `docs/faults.md` is generated from them."""

from tests.faults.catalog import (
    files,
    images,
    outputs,
    records,
    sources,
    teachers,
    work,
)

SECTIONS = (images, files, records, sources, teachers, outputs, work)
FAULTS = tuple(fault for section in SECTIONS for fault in section.FAULTS)
