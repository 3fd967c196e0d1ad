"""A live index that begins with an index that was saved, and shares its files."""

import os
import shutil
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from towers.index.auto import Auto
from towers.index.live.folder import install, journal_file, main_part, write_header
from towers.index.live.health import recall_of
from towers.index.live.journal import Journal
from towers.index.live.moment import Moment
from towers.index.live.parts import Part, block_searcher, named
from towers.types import DataError

_QUERIES = 128


def living(folder: Path, saved: Path, queries: Float32[np.ndarray, "q *i d"]) -> None:
    """Make a live index, for Live.open, whose first main part is an index that was saved.

    Its files are linked, not copied, where both folders are on one disk: they are never written to. So a catalogue of
    ten million begins to live in the time that its recall takes to measure.

    Args:
        folder: Where it shall live; new or empty.
        saved: Folder that `Searcher.save` wrote; kinds exact and ivf.
        queries: User vectors, of which the first 128 are taken, [q, d] or [q, interests, d]: every second of them
            measures recall, and for the others lists are made anew one day.

    Raises:
        DataError: The folder holds something.
        ConfigError: An index of another kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; give a new folder, or open what is there with Live.open")
    from towers.index import load_index

    main, queries = block_searcher(load_index(saved)), queries.reshape(-1, queries.shape[-1])[:_QUERIES]
    part = Part(main, 1.0, queries, len(main), users=True)
    part = part._replace(recall=recall_of(Moment.of(main), part.asking))

    def write(place: Path) -> None:
        shutil.copytree(saved, place, copy_function=_linked)
        np.save(place / "queries.npy", queries)

    install(main_part(folder, 1), write)
    Journal.create(journal_file(folder, 1), main.dim, sync=False).close()
    header = {"geometry": main.geometry.value, "dim": main.dim, "index": named(Auto()), "generation": 1}
    write_header(folder, header | part.header())


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
