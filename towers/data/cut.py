"""How events are divided into what is learned from, what is chosen on, and what is asked."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from towers.data.engine import Engine
from towers.kinds import check_kinds
from towers.types import ConfigError, DataError


@dataclass(kw_only=True)
class Cut(ABC):
    """A way to divide events into train, valid and test."""

    @abstractmethod
    def assign(self, engine: Engine) -> dict[str, Any]:
        """Make `events` from `ordered`, with its split filled in; return what the manifest says of it."""


@dataclass(kw_only=True)
class TimeCut(Cut):
    """One moment for everybody; what happens at the moment itself comes after it."""

    valid: str = "0.8"
    """Where valid begins: a share of all events by time, a moment such as 2022-05-01T00:00+08:00, or epoch ms."""
    test: str = "0.9"
    """Where test begins, in the same way."""

    def __post_init__(self) -> None:
        check_kinds(self, "cut.")
        for name, text in (("valid", self.valid), ("test", self.test)):
            moment(text, f"cut.{name}")

    def assign(self, engine: Engine) -> dict[str, Any]:
        """Cut at the two moments.

        Raises:
            DataError: No event has a time, or the moments stand in the wrong order.
        """
        ((_, _, known),) = engine.select("count_kept")
        if known == 0:
            raise DataError(
                "cut=time needs times, and no event has one; set data.columns.time_ms=COLUMN, or take cut=leave_one_out"
            )
        valid_ms = _at(engine, moment(str(self.valid), "cut.valid"), known)
        test_ms = _at(engine, moment(str(self.test), "cut.test"), known)
        if valid_ms > test_ms:
            raise DataError(
                f"cut.valid={self.valid} is {_date(valid_ms)}, later than cut.test={self.test}, {_date(test_ms)}; "
                "valid comes before test: give both"
            )
        engine.run("cut_time", valid_ms=valid_ms, test_ms=test_ms)
        return {"kind": "time", "valid": self.valid, "test": self.test, "valid_ms": valid_ms, "test_ms": test_ms}


@dataclass(kw_only=True)
class LeaveOneOut(Cut):
    """Each user's last positive tests and the one before validates; users with fewer than three only train."""

    def assign(self, engine: Engine) -> dict[str, Any]:
        """Cut each user's events at their last two positives."""
        engine.run("cut_leave_one_out")
        return {"kind": "leave_one_out"}


def _date(time_ms: int) -> str:
    """Return a moment as people read it."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)).strftime("%Y-%m-%d %H:%M UTC")
    except OverflowError:  # no moment of any calendar: in another unit
        return f"{time_ms} ms"


CUTS: dict[str, type[Cut]] = {"time": TimeCut, "leave_one_out": LeaveOneOut}


def moment(text: str, option: str) -> float | int:
    """Return a share of all events (a float between 0 and 1), or a moment in ms (an int).

    Raises:
        ConfigError: The text is neither.

    Example:
        >>> moment("0.9", "cut.test"), moment("2022-05-01T00:00+08:00", "cut.valid")
        (0.9, 1651334400000)
    """
    try:
        number = float(text)
    except ValueError:
        return moment_ms(text, option)
    if 0 < number < 1:
        return number
    return moment_ms(text, option)


def moment_ms(text: str, option: str) -> int:
    """Return a moment, given in ISO 8601 (UTC unless it says otherwise) or in ms since 1970, in ms.

    Raises:
        ConfigError: The text is neither.
    """
    if text.lstrip("-").isdigit() and len(text) > len("20220501"):
        return int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{option}={text}; expected a share between 0 and 1, a moment such as 2022-05-01T00:00+08:00, or epoch ms"
        ) from error
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def _at(engine: Engine, where: float | int, known: int) -> int:
    if isinstance(where, int):
        return where
    ((found,),) = engine.select("moment", offset=min(int(where * known), known - 1))
    return int(found)
