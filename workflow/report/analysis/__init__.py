"""The figures of a report, computed from the files of a run."""
