"""What can be wrong, and how a job ends."""

import dataclasses

LABELED = "labeled"
WORKS = "works"
NO_ROW = "no row"
REFUSED = "error before any work"
FAILED = "error"
FAILED_RESUMABLE = "error, resumable"
CONTINUES = "continues"
RESUMABLE = "resumable"
#: Statuses of rows without a prediction.
STATUSES = (
    *("empty", "undecodable", "too_large", "missing", "unreadable", "changed"),
    *("corrupt_record", "bad_record", "not_finite"),
)


@dataclasses.dataclass(frozen=True)
class Fault:
    """What can be wrong, and how a job ends.

    Attributes:
        name: The fault, unique.
        end: One of the constants above, or the status of the image's row.
        note: Explanation for the page; not checked.
        mentions: Parts of the message that identify the cause: names, values, codes.
    """

    name: str
    end: str
    note: str = ""
    mentions: tuple[str, ...] = ()

    @property
    def is_row(self) -> bool:
        """Whether it ends as a row without a prediction."""
        return self.end in STATUSES

    @property
    def status(self) -> str:
        """The status of the image's row; `ok` where it is labeled."""
        assert self.is_row or self.end == LABELED, self
        return self.end if self.is_row else "ok"

    @property
    def ending(self) -> str:
        """The end, as the page words it."""
        return f"row `{self.end}`" if self.is_row else self.end

    def check(self, message: str) -> None:
        """Checks that a message mentions the cause."""
        assert message
        for mention in self.mentions:
            assert mention in message, f"expected {mention!r} in {message!r}"
