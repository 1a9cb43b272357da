"""A tracker that a test holds, in the place of MLflow and W&B."""

from classifier.training import tracking


class HeldTracker:
    """Keeps what it receives.

    Attributes:
        rows: Rows by run.
        ends: Statuses of the runs, in order.
        failures: Number of next calls that fail.
        is_down: Whether opening a run fails.
    """

    run_id = ""

    def __init__(self):
        self.rows, self.ends, self.failures, self.is_down = {}, [], 0, False

    def open_run(self, where, setup):
        if self.is_down:
            raise RuntimeError("no\nroute")
        self.run_id = setup.run_id or f"run-{len(self.rows)}"
        self.rows.setdefault(self.run_id, [])
        self.settings = setup.settings
        return self

    def log_metrics(self, step, values):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("timed\nout")
        self.rows[self.run_id].append({"step": step, **values})

    def finish(self, status):
        self.ends.append(status)


def hold_tracker(monkeypatch):
    """Returns what every `--log_to` sends to while the test runs."""
    tracker = HeldTracker()
    monkeypatch.setattr(tracking, "_opener", lambda kind: tracker.open_run)
    installed = {kind: ("json", *how) for kind, (_, *how) in tracking.KINDS.items()}
    monkeypatch.setattr(tracking, "KINDS", installed)
    return tracker
