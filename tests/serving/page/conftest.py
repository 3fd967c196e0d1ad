"""A service with its page over real sockets, and a real browser without a screen."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver

from tests.serving.http.conftest import running
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import MemoryState

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Chrome = webdriver.Chrome


@pytest.fixture(scope="module")
def url(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service without keys."""
    state = str(tmp_path_factory.mktemp("page") / "state")
    with running(make_app(ServeConfig(bundle=str(tiny_bundle), state=state, store=MemoryState()))) as url:
        yield url


def browser(width: int, height: int) -> Chrome:
    """Return Chromium with a new profile and a window of a size, which may be a phone's."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if not all(programs):
        pytest.skip("no chromium and chromedriver here; on Debian: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for argument in (*ARGUMENTS, f"--user-data-dir={tempfile.mkdtemp(prefix='towers-page-')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Driver(str(programs[1])), options=options)
    resized(driver, width, height)
    return driver


def resized(driver: Chrome, width: int, height: int) -> None:
    """Give a browser's window another size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    """A wide browser."""
    driver = browser(1440, 900)
    profile = Path(driver.capabilities["chrome"]["userDataDir"])
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)
