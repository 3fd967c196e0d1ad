"""What a folder says: the main part, and what the journals add to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towers.index.live.folder import journal_file, journals_from, main_part, read_header
from towers.index.live.journal import Content, net, read
from towers.index.live.moment import Moment
from towers.index.live.parts import Part
from towers.types import DataError


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was found in the journals at opening.

    Attributes:
        changes: How many calls were done again.
        lost: How many bytes a crash left unfinished, or somebody is writing now; nothing of them was acknowledged,
            unless without sync.
        where: In which file, from which byte on; empty where nothing was lost.
    """

    changes: int
    lost: int
    where: str


@dataclass(frozen=True, kw_only=True)
class State:
    """A folder, read.

    Attributes:
        header: The header.
        part: The main part.
        now: The moment that the journals lead to.
        ends: For each journal its number and how many of its bytes are valid.
        recovered: What was found in them.
    """

    header: dict[str, Any]
    part: Part
    now: Moment
    ends: list[tuple[int, int]]
    recovered: Recovered


def read_state(folder: Path) -> State:
    """Return what a folder says; where another process changes the main part meanwhile, what it says then.

    Raises:
        DataError: Files that are missing, of another version, or damaged after what they say was acknowledged.
    """
    while True:
        header = read_header(folder)
        try:
            state = _read(folder, header)
        except (FileNotFoundError, DataError) as error:
            if read_header(folder) != header:
                continue
            if isinstance(error, DataError):
                raise
            raise DataError(f"{error.filename} is missing; take the index from a copy, or build it anew") from error
        if read_header(folder) == header:
            return state


def _read(folder: Path, header: dict[str, Any]) -> State:
    generation, dim = header["generation"], header["dim"]
    part = Part.load(main_part(folder, generation), header)
    numbers = journals_from(folder, generation)
    if not numbers or numbers[0] != generation:
        raise FileNotFoundError(2, "no journal", str(journal_file(folder, generation)))
    # The last first: where it holds anything, those before it are complete, also while another process writes.
    data = {number: journal_file(folder, number).read_bytes() for number in reversed(numbers)}
    contents = [read(journal_file(folder, number), data[number], dim) for number in numbers]
    recovered = _recovered([journal_file(folder, number) for number in numbers], contents)
    now = Moment.of(part.main)
    for change in net([change for content in contents for change in content.changes], dim):
        now, _ = now.after(change)
    ends = [(number, content.end) for number, content in zip(numbers, contents, strict=True)]
    return State(header=header, part=part, now=now, ends=ends, recovered=recovered)


def _recovered(paths: Sequence[Path], contents: Sequence[Content]) -> Recovered:
    where, lost = "", 0
    for path, content in zip(paths, contents, strict=True):
        if lost and content.changes:
            raise DataError(
                f"{where} is damaged: {path.name}, begun after it was complete, holds more; "
                "take the index from a copy, or build it anew"
            )
        if content.lost:
            where, lost = f"{path} from byte {content.end}", content.lost
    return Recovered(changes=sum(len(content.changes) for content in contents), lost=lost, where=where)
