"""Counts the hours of one machine from look to look."""

from __future__ import annotations

import dataclasses

#: Hours after the first look in which a host must report that it has booted. A machine
#: of an earlier command is taken to have booted this long after its creation.
BOOT_HOURS = 1.0


@dataclasses.dataclass(kw_only=True)
class TpuHours:
    """Hours of one machine, counted from the first look that found it on.

    Not from its creation: creating a large slice takes a good part of an hour, which
    Google does not bill, and the clock here may be hours off Google's. The difference
    between two looks is exact.

    Attributes:
        is_own: Whether this command has requested it; if not, what it has been on
            before the first look counts.
    """

    is_own: bool = False
    _at_first: float | None = None
    #: Before the first look, and since.
    _earlier: float = 0.0
    _watched: float = 0.0
    #: Of those since, the ones before the first look that found a report of a host.
    _booting: float | None = None

    def look(self, age: float, *, has_booted: bool) -> None:
        """Counts up to a look.

        Args:
            age: Hours since the creation of the machine, by the clock here.
            has_booted: Whether a host has reported that it has booted.
        """
        if self._at_first is None:
            self._at_first = age
            self._earlier = 0.0 if self.is_own else max(0.0, age - BOOT_HOURS)
        self._watched = max(self._watched, age - self._at_first)
        if has_booted and self._booting is None:
            self._booting = self._watched

    @property
    def on(self) -> float:
        """Hours for which it has been on."""
        return self._earlier + self._watched

    @property
    def booted(self) -> float:
        """Hours since a look found a report. Hosts count from their boot, so more."""
        return 0.0 if self._booting is None else self.on - self._booting

    @property
    def is_mute(self) -> bool:
        """Whether a host should have reported, and none has."""
        return self._booting is None and self._watched > BOOT_HOURS
