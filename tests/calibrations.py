"""Calibrations of which only the temperature is read."""

from classifier.export.facts import OWN_CALIBRATION, read_facts
from stage import artifact
from stage.calibration_files import CALIBRATION, HELD_OUT, SCHEMA_VERSION


def write(directory, temperature, *teachers):
    """Writes a calibration of classifiers; returns its directory."""
    fingerprints = [read_facts(teacher).fingerprint for teacher in teachers]
    artifact.start_or_resume(directory, {"teachers": fingerprints})
    facts = {
        "schema_version": SCHEMA_VERSION,
        "kind": HELD_OUT,
        "teachers": fingerprints,
        "temperature": temperature,
    }
    artifact.write_json(directory / CALIBRATION, facts)
    artifact.complete(directory, seconds=0)
    return str(directory)


def write_own(classifier, temperature):
    """Writes that of a classifier into its directory, as `teacher.probe` does."""
    return write(classifier / OWN_CALIBRATION, temperature, classifier)
