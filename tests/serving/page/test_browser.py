"""The page in a real browser: asked by keyboard alone, on a phone's width, and when things fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests import tiny
from tests.serving.http.conftest import running
from tests.serving.page.conftest import Chrome, resized
from towers.index import Exact
from towers.publishing import PublishConfig, publish
from towers.serving.http.keys import KeyConfig, add_key
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import MemoryState

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
USER = USERS[3]
WAIT_S = 60


def wait(driver: Chrome, sign: Callable[[Chrome], Any]) -> Any:  # noqa: ANN401
    return WebDriverWait(driver, WAIT_S, poll_frequency=0.05).until(sign)


def words(driver: Chrome, place: str) -> str:
    return str(driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", place))


def opened(driver: Chrome, address: str) -> None:
    """Open an address anew, and wait until the service has answered and the map is drawn."""
    driver.get("about:blank")
    driver.get(address)
    wait(driver, lambda driver: "serves" in words(driver, "#state") and "dot is a video" in words(driver, "#map-words"))


def shown(driver: Chrome) -> list[str]:
    """The videos of the list, once it is there."""
    wait(driver, lambda driver: driver.find_elements(By.CSS_SELECTOR, ".candidates > li"))
    script = "return [...document.querySelectorAll('.candidates > li')].map((each) => each.dataset.video)"
    return list(driver.execute_script(script))


def complaints(driver: Chrome) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call]


def tab_to(driver: Chrome, element_id: str) -> None:
    """Press Tab until an element has the focus, and see that the focus can be seen on the way."""
    for _ in range(30):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        style = "const it = document.activeElement; return [it.id, getComputedStyle(it).outlineStyle]"
        found, outline = driver.execute_script(style)
        assert outline != "none"
        if found == element_id:
            return
    raise AssertionError(f"thirty times Tab did not lead to {element_id}")


def test_a_user_is_asked_for_by_keyboard_alone_and_sees_what_the_service_answers(driver: Chrome, url: str) -> None:
    complaints(driver)
    opened(driver, f"{url}/")
    tab_to(driver, "user")
    ActionChains(driver).send_keys(str(USER), Keys.ENTER).perform()
    answer = httpx.post(f"{url}/v1/candidates", json={"user_id": USER, "k": 20}).json()
    assert shown(driver) == list(map(str, answer["video_ids"]))
    scores = driver.find_elements(By.CSS_SELECTOR, ".candidates .score")
    assert [float(each.text) for each in scores] == [round(score, 3) for score in answer["scores"]]
    assert f"User {USER} has watched" in words(driver, ".telling")
    tab_to(driver, "somebody")
    ActionChains(driver).send_keys(Keys.TAB * 3).perform()
    focused = "return document.activeElement.innerText"
    assert driver.execute_script(focused) == str(answer["video_ids"][0])
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    wait(driver, lambda driver: "Video" in words(driver, ".telling"))
    like = httpx.get(f"{url}/v1/videos/{answer['video_ids'][0]}/similar", params={"k": 20}).json()
    assert shown(driver) == list(map(str, like["video_ids"]))
    assert complaints(driver) == []


def test_why_and_the_marks_on_the_map_are_told(driver: Chrome, url: str) -> None:
    opened(driver, f"{url}/#user={USER}")
    shown(driver)
    page = httpx.get(f"{url}/v1/page/users/{USER}").json()
    because = driver.find_elements(By.CSS_SELECTOR, ".candidates > li:first-child .because button")
    assert [each.text for each in because] == [each["video_id"] for each in page["candidates"][0]["because"]]
    label = driver.find_element(By.ID, "map").get_attribute("aria-label")
    assert f"{len(page['candidates'])} would be shown, {len(page['history'])} watched" in str(label)


def test_nothing_is_wider_than_a_phone(driver: Chrome, url: str) -> None:
    resized(driver, 360, 740)
    try:
        for address in (f"{url}/", f"{url}/#user={USERS[tiny.SEEN_ALL]}", f"{url}/#video={VIDEOS[0]}"):
            opened(driver, address)
            if "#" in address:
                wait(driver, lambda driver: words(driver, ".telling"))
            wait(driver, lambda driver: driver.find_elements(By.CSS_SELECTOR, "#versions-list .version"))
            assert driver.execute_script("return document.documentElement.scrollWidth") == 360
            wide = """return [...document.querySelectorAll("main *")].filter((each) => !each.closest(".scroll, .unseen")
                && each.getBoundingClientRect().right > 361).map((each) => each.outerHTML.slice(0, 80))"""
            assert driver.execute_script(wide) == []
    finally:
        resized(driver, 1440, 900)


def test_dark_is_dark_and_light_is_light(driver: Chrome, url: str) -> None:
    opened(driver, f"{url}/")
    light = {}
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        light[scheme] = sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert light["light"] > 650
    assert light["dark"] < 100


def test_every_control_has_a_name_and_every_part_a_landmark(driver: Chrome, url: str) -> None:
    opened(driver, f"{url}/#user={USER}")
    shown(driver)
    nameless = """return [...document.querySelectorAll("input, button, a, canvas, svg, meter, [role=region]")].filter(
        (each) => !(each.labels?.length || each.getAttribute("aria-label") || each.innerText?.trim())
            && !each.closest("[hidden]")).map((each) => each.outerHTML)"""
    assert driver.execute_script(nameless) == []
    for landmark in ("header", "nav[aria-label]", "main", "footer", "section[aria-labelledby=now-title]"):
        assert len(driver.find_elements(By.CSS_SELECTOR, landmark)) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [("video=999", "video 999 is not among"), ("video=abc", "'abc' is no whole number"), ("user=abc", "'abc' is no")],
)
def test_what_cannot_be_answered_is_told(driver: Chrome, url: str, asked: str, said: str) -> None:
    opened(driver, f"{url}/#{asked}")
    wait(driver, lambda driver: said in words(driver, "#told-fault"))
    assert driver.find_elements(By.CSS_SELECTOR, ".candidates > li") == []


def test_what_is_empty_is_told(driver: Chrome, url: str) -> None:
    opened(driver, f"{url}/#user=12345")
    wait(driver, lambda driver: "nothing that is known" in words(driver, ".telling"))
    assert "Nothing is known that this user watched." in words(driver, "#told-lists")
    opened(driver, f"{url}/#user={USERS[tiny.SEEN_ALL]}")
    wait(driver, lambda driver: "Nothing is left to show." in words(driver, "#told-lists"))
    assert "published without an evaluation" in words(driver, "#versions-list")


def test_a_service_that_stopped_is_told(driver: Chrome, tiny_bundle: Path, tmp_path: Path) -> None:
    config = ServeConfig(bundle=str(tiny_bundle), state=str(tmp_path / "state"), store=MemoryState())
    with running(make_app(config)) as url:
        opened(driver, f"{url}/")
    wait(driver, lambda driver: "does not answer" in words(driver, "#now-fault"))
    assert "does not answer" in words(driver, "#state")
    driver.get("about:blank")


def test_rates_and_times_come_from_what_was_counted(driver: Chrome, url: str) -> None:
    opened(driver, f"{url}/")
    wait(driver, lambda driver: driver.find_elements(By.CSS_SELECTOR, "#charts figure"))
    for _ in range(5):
        httpx.post(f"{url}/v1/candidates", json={"k": 1}).raise_for_status()
    row = "[...document.querySelectorAll('#routes tr')].find((each) => each.innerText.includes('/v1/candidates'))"
    wait(
        driver, lambda driver: (driver.execute_script(f"return {row}?.children[1].innerText") or "–") not in {"–", "0"}
    )
    counted = httpx.get(f"{url}/v1/page/live").json()["routes"]
    all_of_them = next(each for each in counted if each["route"] == "/v1/candidates")["by_status"]["200"]
    assert int(driver.execute_script(f"return {row}.children[5].innerText")) == all_of_them >= 5


def test_the_time_of_a_share_is_estimated_as_prometheus_does(driver: Chrome, url: str) -> None:
    driver.get(f"{url}/")
    shares = "return [.5, .75, .99].map((share) => quantile([1, 2, 4, 8], [1, 1, 3, 4, 4], share))"
    assert driver.execute_script(shares) == [3, 4, pytest.approx(4 + 4 * 0.96)]
    assert driver.execute_script("return quantile([1, 2], [0, 0, 5], .5) === Infinity")
    assert driver.execute_script("return quantile([1, 2], [0, 0, 0], .5)") is None


def test_with_keys_on_the_page_asks_for_one_and_shows_what_it_may(
    driver: Chrome, tiny_bundle: Path, tmp_path: Path
) -> None:
    file = str(tmp_path / "keys.json")
    scopes = {"reader": ["read"], "owner": ["read", "write", "admin"]}
    keys = {name: add_key(KeyConfig(file=file, name=name, scopes=each)) for name, each in scopes.items()}
    config = ServeConfig(bundle=str(tiny_bundle), state=str(tmp_path / "state"), store=MemoryState(), keys=file)
    with running(make_app(config)) as url:
        driver.get(f"{url}/")
        wait(driver, lambda driver: driver.find_element(By.ID, "door").is_displayed())
        ActionChains(driver).send_keys("towers-wrong", Keys.ENTER).perform()
        wait(driver, lambda driver: "does not know this key" in words(driver, "#door-fault"))
        ActionChains(driver).send_keys(keys["reader"], Keys.ENTER).perform()
        wait(driver, lambda driver: "serves" in words(driver, "#state"))
        assert "“reader” may read" in words(driver, "#keyed-words")
        assert not driver.find_element(By.ID, "user").is_enabled()
        assert "needs the scope write" in words(driver, "#told-state")
        assert not driver.find_element(By.ID, "roll-back").is_displayed()
        driver.find_element(By.ID, "forget-key").click()
        wait(driver, lambda driver: driver.find_element(By.ID, "door").is_displayed())
        driver.find_element(By.ID, "key").send_keys(keys["owner"], Keys.ENTER)
        wait(driver, lambda driver: driver.find_element(By.ID, "roll-back").is_displayed())
        assert driver.find_element(By.ID, "user").is_enabled()
        kept = driver.execute_script("return [sessionStorage.getItem('key'), localStorage.length, document.cookie]")
        assert kept == [keys["owner"], 0, ""]
        driver.execute_script("sessionStorage.clear()")
        driver.get("about:blank")


def test_versions_are_changed_by_those_who_may(driver: Chrome, tmp_path: Path) -> None:
    run = tiny.write_run(tmp_path / "run", tiny.write_dataset(tmp_path / "dataset"))
    root, file = tmp_path / "bundle", str(tmp_path / "keys.json")
    older, newer = (publish(PublishConfig(run=str(run), bundle=str(root), index=Exact())).version for _ in range(2))
    key = add_key(KeyConfig(file=file, name="owner", scopes=["read", "write", "admin"]))
    config = ServeConfig(bundle=str(root), state=str(tmp_path / "state"), store=MemoryState(), keys=file)
    headers = {"Authorization": f"Bearer {key}"}

    def pressed(button: str, sure: bool) -> None:
        def enter(driver: Chrome) -> bool:
            found = driver.find_element(By.XPATH, button)
            if enabled := found.is_enabled():
                found.send_keys(Keys.ENTER)  # the page still grows, and a click may miss
            return enabled

        # The list is made anew every few seconds, and then the button is another.
        WebDriverWait(driver, WAIT_S, 0.05, [NoSuchElementException, StaleElementReferenceException]).until(enter)
        alert = driver.switch_to.alert
        assert "to everybody from now on?" in alert.text
        alert.accept() if sure else alert.dismiss()

    def serves(version: str) -> bool:
        head = words(driver, "#versions-list article:has(.badge) h3")
        return "serves now" in head and version in head

    with running(make_app(config)) as url, httpx.Client(base_url=url, headers=headers, timeout=WAIT_S) as asks:
        driver.get(f"{url}/")
        wait(driver, lambda driver: driver.find_element(By.ID, "door").is_displayed())
        driver.find_element(By.ID, "key").send_keys(key, Keys.ENTER)
        wait(driver, lambda _: serves(newer))
        pressed("//button[@id='roll-back']", sure=False)
        assert asks.get("/v1/bundle").json()["version"] == newer
        pressed("//button[@id='roll-back']", sure=True)
        wait(driver, lambda _: serves(older))
        assert asks.get("/v1/bundle").json()["version"] == older
        wait(driver, lambda driver: not driver.find_element(By.ID, "roll-back").is_enabled())
        pressed("//button[text()='Serve this version']", sure=True)
        wait(driver, lambda _: serves(newer))
        assert asks.get("/v1/bundle").json()["version"] == newer
        driver.execute_script("sessionStorage.clear()")
        driver.get("about:blank")
