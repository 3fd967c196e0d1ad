"""The console command: finds the verb, lets Hydra compose its configuration, runs it, and explains errors."""

import gc
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from towers import __version__
from towers.cli.options import nearest
from towers.cli.overview import explanation, overview
from towers.cli.quiet import hush
from towers.cli.schema import Schema, schema_of
from towers.cli.verbs import VERBS, Verb
from towers.lazy import worded
from towers.types import TowersError

if TYPE_CHECKING:
    from omegaconf import DictConfig

DONE, DEFECT, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: all went well; a defect of ours; something the user can mend; Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `towers VERB option=value …` and return the exit status.

    Args:
        arguments: What follows `towers` on the command line; the process's own when None.
    """
    # Torch's threads spin at their barriers, and where other work has the core that the last one waits for,
    # they spin for most of the time.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(overview())
        return DONE
    if words[0] == "--version":
        sys.stdout.write(f"towers {__version__}\n")
        return DONE
    name, *options = words
    if name not in VERBS:
        sys.stderr.write(f"error: towers has no verb {name!r}{nearest(name, VERBS)}; it has {', '.join(VERBS)}\n")
        return MISUSED
    hush()
    # What is imported stays: to look through it for garbage, again and again, takes .4 s of a service's start.
    gc.disable()
    try:
        return _run(VERBS[name], options)
    except KeyboardInterrupt:
        return _interrupted(name)
    except SystemExit as stop:
        # Lightning answers Ctrl-C with sys.exit(1) while it handles the interrupt.
        return _interrupted(name) if isinstance(stop.__context__, KeyboardInterrupt) else int(stop.code or DONE)
    finally:
        gc.enable()


def _interrupted(name: str) -> int:
    if name in {"train", "demo"}:
        sys.stderr.write("stopped; the same command goes on after the last whole epoch\n")
    return INTERRUPTED


def _run(verb: Verb, words: list[str]) -> int:
    try:
        schema = schema_of(verb)
    except ModuleNotFoundError as error:
        lack = worded(f"towers {verb.name}", error)
        if not isinstance(lack, TowersError):
            raise
        sys.stderr.write(f"error: {lack}\n")
        return MISUSED
    if {"-h", "--help"} & set(words):
        with resources.as_file(resources.files("towers.conf")) as conf:
            sys.stdout.write(explanation(verb, schema, conf))
        return DONE
    from towers.cli.compose import configured, job_name, job_number, job_options, run_hydra, sweep_folder
    from towers.cli.sweep import Job, compare

    debug = "--debug" in words or os.environ.get("HYDRA_FULL_ERROR") == "1"
    words = [word for word in words if word != "--debug"]
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    # Of several processes that train together only the first speaks.
    logging.getLogger("towers").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    failures: list[tuple[str, Exception]] = []
    jobs: list[Job] = []

    def job(options: "DictConfig") -> dict[str, float]:
        number = job_number()
        if number is not None:
            sys.stderr.write(f"{job_name()}\n")
        figures: dict[str, float] = {}
        try:
            figures = verb.judge(verb.run(configured(verb, words, options)))
        except Exception as error:
            failures.append((job_name(), error))  # told below: Hydra would print its own line before it
        if number is not None:
            within = sweep_folder(verb, words)
            jobs.append(Job(number=number, told=job_options(), figures=figures, within=within))
        return figures

    try:
        run_hydra(verb, schema, words, job)
    except Exception as error:
        failures.append(("", error))
    finally:
        compare(jobs)
    told = [_tell(name, error, (verb, schema, words), debug=debug) for name, error in failures]
    return max(told, default=DONE)


def _tell(name: str, error: Exception, asked: tuple[Verb, Schema, list[str]], *, debug: bool) -> int:
    """Print one error in words, and where it comes from if that is asked for or it is a defect."""
    from towers.cli.errors import explain

    message = explain(error, *asked)
    if message is None or debug:
        traceback.print_exception(error)
    prefix = f"{name}: " if name else ""
    if message is None:
        kind = type(error).__name__
        sys.stderr.write(f"error: {prefix}{kind}: {error}\nThis is a defect of towers; please report it as printed.\n")
        return DEFECT
    sys.stderr.write(f"error: {prefix}{message}\n")
    return MISUSED
