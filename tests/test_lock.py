"""The lock names every dependency once, exactly, and this environment is the locked one."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
LINES = [line for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def name_in(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    return canonical(found.group()) if found else ""


LOCKED = {name_in(line): line.partition("==")[2] for line in LINES}


def declared() -> list[str]:
    pyproject = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    project = pyproject["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    named = [*project["dependencies"], *extras, *pyproject["build-system"]["requires"]]
    return [name for name in named if name_in(name) != "towers"]


def test_every_line_is_one_exact_version_without_hash_host_or_build_tag() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.]+", line)] == []
    assert len(LOCKED) == len(LINES)


def test_no_accelerator_packages() -> None:
    assert [name for name in LOCKED if re.match(r"nvidia|cuda|triton|cu\d\d", name)] == []


def test_torch_is_the_agreed_one() -> None:
    assert LOCKED["torch"] == "2.13.0"


@pytest.mark.parametrize("requirement", declared())
def test_what_pyproject_asks_for_is_locked(requirement: str) -> None:
    assert name_in(requirement) in LOCKED


@pytest.mark.parametrize("name", sorted(LOCKED))
def test_this_environment_has_the_locked_version(name: str) -> None:
    try:
        installed = version(name)
    except PackageNotFoundError:
        pytest.skip("a build dependency of others, not installed here")
    assert installed.partition("+")[0] == LOCKED[name]


def test_what_the_locked_packages_need_is_locked_too() -> None:
    missing = set()
    for name in LOCKED:
        try:
            needs = requires(name) or []
        except PackageNotFoundError:
            continue
        always = [need for need in needs if ";" not in need]
        missing |= {f"{name} needs {name_in(need)}" for need in always if name_in(need) not in LOCKED}
    assert missing == set()
