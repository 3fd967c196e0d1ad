"""Wishes that came together, answered together: one pass through tower and index for all who ask without a filter."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from towers.serving.asking import Ask
from towers.serving.candidates import Candidates
from towers.serving.chosen import Where, no_video_has
from towers.serving.retriever import Retriever
from towers.serving.store import Id
from towers.serving.version import Version
from towers.types import ConfigError, DataError, UnknownIdError

_log = logging.getLogger(__name__)
_ASKERS = (ConfigError, DataError, UnknownIdError)
"""Errors that whoever asks can mend."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Which videos may be shown.

    Attributes:
        only: Those of these features.
        without: None of these.
        allow: None but these; None for all.
    """

    only: Where = field(default_factory=dict)
    without: Where = field(default_factory=dict)
    allow: Sequence[Id] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for, and what they may be shown."""

    ask: Ask
    shown: Shown


def answer_together(version: Version, wishes: Sequence[Wish]) -> list[Candidates | Exception]:
    """Return for each wish its answer, or the error of whoever asks; where the towers fail, what is popular."""
    found: dict[int, Candidates | Exception] = {}
    by_retriever: dict[Retriever, list[int]] = {}
    for place, wish in enumerate(wishes):
        try:
            by_retriever.setdefault(_retriever(version, wish.shown), []).append(place)
        except _ASKERS as error:
            found[place] = error
    for retriever, places in by_retriever.items():
        asks = [wishes[place].ask for place in places]
        found |= zip(places, _answers(version, retriever, asks), strict=True)
    return [_explained(version, wish.shown.only, found[place]) for place, wish in enumerate(wishes)]


def _explained(version: Version, only: Where, found: Candidates | Exception) -> Candidates | Exception:
    """Return an answer that is short with the values that no video has, if any are asked for."""
    if isinstance(found, Exception) or not found.short_because or not only:
        return found
    unmet = version.retriever.chooser.unmet(only)
    return replace(found, short_because=f"{no_video_has(unmet)}; {found.short_because}") if unmet else found


def _retriever(version: Version, shown: Shown) -> Retriever:
    retriever = version.filtered(shown.only, shown.without)
    return retriever if shown.allow is None else retriever.only(ids=shown.allow)


def _answers(version: Version, retriever: Retriever, asks: Sequence[Ask]) -> Sequence[Candidates | Exception]:
    if len(asks) > 1:
        try:
            return retriever.answers(asks)
        except Exception:
            _log.debug("answered one by one: one of several makes no sense", exc_info=True)
    return [_answer(version, retriever, ask) for ask in asks]


def _answer(version: Version, retriever: Retriever, ask: Ask) -> Candidates | Exception:
    try:
        return retriever.answer(ask)
    except _ASKERS as error:
        return error
    except Exception:
        _log.exception("the towers gave no answer; what is popular was shown")
        return version.popular(ask, retriever)
