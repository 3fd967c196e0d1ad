"""Takes the README's picture of the page, from a service that runs: python -m benchmarks.page_picture ADDRESS USER."""

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

PICTURE = Path(__file__).parent / "page.png"
SIZE = 1440, 900
COLOURS = 256
"""So that the picture stays small."""
_READY = """return document.querySelectorAll(".candidates > li").length > 0
    && document.getElementById("map-words").innerText !== "" && !document.getElementById("map-marks").hidden"""


def take(address: str, user: str, picture: Path = PICTURE) -> None:
    """Write a picture of the page with what a user would be shown.

    Args:
        address: Of a service without keys.
        user: Whose.
        picture: The file.
    """
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        try:
            size = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.get(f"{address}/#user={user}")
            WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(_READY))
            taken = Image.open(BytesIO(driver.get_screenshot_as_png()))
        finally:
            driver.quit()
    taken.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        picture, optimize=True
    )


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2])
