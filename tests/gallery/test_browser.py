"""The page in a real browser: what is seen, what the hand does, and what becomes of votes.

One headless Chromium for all tests; they are skipped where there is none.
"""

import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_pure.__main__ import main
from tests.gallery.conftest import NAMES, NASTY, make_folder

selenium = pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

from tests.browser import headless_chromium  # noqa: E402

GREEN = "<b>Green</b>"
RIVALS = ["warm/version_0", "cold/version_0", GREEN]
PATIENCE = 10  # seconds


@pytest.fixture(scope="module")
def gallery(two_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three methods, one of which lacks a picture."""
    folder = tmp_path_factory.mktemp("gallery")
    theirs = make_folder(folder / "theirs", "green", NAMES[:5])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(two_runs)
        assert main(["gallery", "warm", "cold", "--folder", f"{GREEN}={theirs}", "--out", str(folder)]) == 0
    return folder / "index.html"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads: Path) -> Iterator[webdriver.Chrome]:
    """At the end, nothing may have been asked of any network, nor told on the console."""
    driver = headless_chromium(downloads)
    yield driver
    told, asked = driver.get_log("browser"), requests(driver)
    driver.quit()
    assert told == []
    assert any(url.startswith("file:") and "index.html" in url for url in asked)
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert all("index.html" in url for url in asked if url.startswith("file:"))


def requests(driver: webdriver.Chrome) -> list[str]:
    """Addresses of all that the browser asked for."""
    events = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


class Page:
    """The gallery, opened afresh."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver, self.path = driver, path

    def open(self, view: str = "compare", width: int = 1200, height: int = 800, scheme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get("about:blank")  # else only the part after # would change
        self.driver.get(f"{self.path.as_uri()}#{view}")

    def __getitem__(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def run(self, script: str, *values):
        return self.driver.execute_script(script, *values)

    def keys(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def wait(self, script: str):
        """Until the script gives something true; that."""
        end = time.monotonic() + PATIENCE
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)
        return found

    def wheel(self, name: str, across: int, down: int, by: int) -> None:
        """Turn the wheel so far beside the middle of an element."""
        origin = ScrollOrigin.from_element(self[name], across, down)
        ActionChains(self.driver).scroll_from_origin(origin, 0, by).perform()

    def drag(self, element: WebElement, across: int, down: int, to_right: int, to_below: int) -> None:
        actions = ActionChains(self.driver, duration=20).move_to_element_with_offset(element, across, down)
        actions.click_and_hold().move_by_offset(to_right, to_below).release().perform()

    def boxes(self, pane: str) -> list[list[float]]:
        """Left, top, width of each picture of the panes that the selector finds, in the pane's own pixels."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].flatMap((pane) => [...pane.querySelectorAll('img')]"
            ".filter((image) => !image.hidden).map((image) => { const [one, other] = [image, pane].map((element) => "
            "element.getBoundingClientRect()); return [one.left - other.left, one.top - other.top, one.width]; }))",
            pane,
        )

    def colors(self, name: str, *across: float) -> list[str]:
        """Which tint is seen on an element, at these shares of its width."""
        time.sleep(0.1)  # until it is painted
        picture = np.asarray(Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB"))
        place = self.run("return arguments[0].getBoundingClientRect()", self[name])
        y = int(place["y"] + place["height"] / 4)
        columns = [int(place["x"] + place["width"] * share) for share in across]
        tints = [picture[y : y + 10, x - 5 : x + 5].mean(axis=(0, 1)) for x in columns]
        return [("warm", "green", "cold")[int(tint.argmax())] for tint in tints]

    def begin(self, voter: str) -> None:
        self["voter"].clear()
        self["voter"].send_keys(voter, Keys.ENTER)
        self.ready()

    def ready(self) -> None:
        """A question can be answered, or there is none any more."""
        self.wait("return session.ready || !document.getElementById('result').hidden")

    def votes(self) -> list[dict]:
        return self.run("return session.votes")


@pytest.fixture
def page(chromium: webdriver.Chrome, gallery: Path) -> Page:
    found = Page(chromium, gallery)
    found.open()
    found.run("localStorage.clear()")
    return found


def choose(page: Page, left: str, right: str) -> None:
    Select(page["left"]).select_by_value(left)
    Select(page["right"]).select_by_value(right)


def test_the_handle_moves_the_split(page):
    choose(page, "warm/version_0", "cold/version_0")
    assert page.colors("stage", 0.1, 0.3, 0.45, 0.6, 0.9) == ["warm"] * 3 + ["cold"] * 2
    width = page["stage"].size["width"]
    page.drag(page["handle"], 0, 50, -int(width * 0.3), 0)
    assert int(page["handle"].get_attribute("aria-valuenow")) == pytest.approx(20, abs=1)
    assert page.colors("stage", 0.1, 0.3, 0.45) == ["warm", "cold", "cold"]
    assert [page["left-tag"].text, page["right-tag"].text] == ["warm/version_0", "cold/version_0"]
    page["swap"].click()
    assert page.colors("stage", 0.1, 0.3) == ["cold", "warm"]


def test_the_split_by_keyboard(page):
    page.run("arguments[0].focus()", page["handle"])
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page["handle"].get_attribute("aria-valuenow") == "54"
    page.keys(Keys.HOME)
    assert page["handle"].get_attribute("aria-valuenow") == "0"
    page.keys(Keys.PAGE_UP, Keys.ARROW_LEFT)
    assert page["handle"].get_attribute("aria-valuenow") == "8"


def test_the_wheel_zooms_where_the_pointer_is(page):
    ((left, top, width), other) = page.boxes("#stage")
    assert other == [left, top, width]
    middle = [side / 2 for side in page["stage"].size.values()][::-1]  # width, height
    at = [middle[0] + 150, middle[1] - 90]
    page.wheel("stage", 150, -90, -700)
    ((new_left, new_top, new_width), other) = page.boxes("#stage")
    assert other == [new_left, new_top, new_width]  # both sides move together
    assert new_width > 2 * width
    # the point below the pointer, in shares of the picture
    assert (at[0] - new_left) / new_width == pytest.approx((at[0] - left) / width, abs=2e-3)
    assert (at[1] - new_top) / new_width == pytest.approx((at[1] - top) / width, abs=2e-3)
    shown = int(page["zoom-shown"].text.removesuffix(" %"))
    assert shown == pytest.approx(new_width / 96 * 100, abs=1)
    page.wheel("stage", 0, 0, 5000)
    assert page.boxes("#stage") == [[left, top, width]] * 2


def test_dragging_moves_an_enlarged_picture_as_far_as_it_reaches(page):
    page["zoom-in"].click()
    page["zoom-in"].click()
    before = page.boxes("#stage")[0]
    page.drag(page["stage"], 120, 60, -37, 22)
    after = page.boxes("#stage")[0]
    assert [after[0] - before[0], after[1] - before[1]] == pytest.approx([-37, 22], abs=0.6)
    assert page["handle"].get_attribute("aria-valuenow") == "50"
    for _ in range(4):
        page.drag(page["stage"], -300, 60, 600, 0)
    assert page.boxes("#stage")[0][0] == pytest.approx(0, abs=0.1)


def test_pixels_are_squares_once_enlarged(page):
    rendering = "return getComputedStyle(document.querySelector('#stage img')).imageRendering"
    page["zoom-one"].click()
    assert page["zoom-shown"].text == "100 %"
    assert page.run(rendering) == "auto"
    page.keys("+", "+")
    assert page["zoom-shown"].text == "225 %"
    assert page.run(rendering) == "pixelated"
    page.keys("-")
    assert page.run(rendering) == "auto"
    page.keys("0")
    assert page.run("return view.zoom") == 1


def test_all_methods_show_the_same_part(page):
    page.wheel("stage", 100, 50, -600)
    zoomed = page.run("return [view.x, view.y, view.zoom]")
    page.driver.find_element(By.LINK_TEXT, "All methods").click()
    page.wait("return document.querySelectorAll('#panes img').length === 6")
    assert page.run("return [view.x, view.y, view.zoom]") == zoomed
    boxes = page.boxes("#panes .pane")
    assert len(boxes) == 6
    assert all(box == pytest.approx(boxes[0], abs=0.6) for box in boxes)
    pane = page.driver.find_elements(By.CSS_SELECTOR, "#panes .pane")[3]
    page.drag(pane, 20, 10, 25, -15)
    moved = page.boxes("#panes .pane")
    assert [moved[3][0] - boxes[3][0], moved[3][1] - boxes[3][1]] == pytest.approx([25, -15], abs=0.6)
    assert all(box == pytest.approx(moved[3], abs=0.6) for box in moved)
    names = [element.text for element in page.driver.find_elements(By.CSS_SELECTOR, "#panes figcaption > span")]
    assert names == ["LQ", "bicubic", *RIVALS, "ground truth"]


def test_pictures_by_keyboard_and_by_thumbnail(page):
    assert page["shot-name"].text == "demo/cat_0"
    page.keys("j", "j")
    assert page["shot-name"].text == "demo/cat_2"
    page.keys("k", "k", "k")
    assert page["shot-name"].text == "demo/cup_2"
    assert "picture" in page["strip"].get_attribute("aria-label").lower()
    page["strip"].find_element(By.CSS_SELECTOR, "[aria-label='demo/cat_1']").click()
    assert page["shot-name"].text == "demo/cat_1"
    assert page.run("return document.querySelector('#strip [aria-current]').title") == "demo/cat_1"


def test_figures_and_words_of_the_picture(page):
    lines = page["scores"].text.split("\n")
    assert lines[0] == "PSNR \u2191 NIQE \u2193"
    at = [line for line in lines if line not in ("L", "R")]
    assert at[at.index("warm/version_0") + 1].split() == ["21.00", "4.0000"]
    assert at[at.index("bicubic") + 1].split() == ["19.00", "9.5000"]
    bold = [element.text for element in page["scores"].find_elements(By.TAG_NAME, "strong")]
    assert bold == ["21.00", "4.0000"]
    said = page.run("return [...document.querySelectorAll('#words p')].map((one) => one.textContent)")
    assert said[:2] == ["Medium blur, large noise.", "Part 0 of a photograph."]
    assert said[2:4] == ["Small blur, large noise.", NASTY]
    page["scores"].find_element(By.CSS_SELECTOR, "[aria-label='ground truth on the right']").click()
    assert page["right-tag"].text == "ground truth"


def test_text_of_others_does_not_run(page):
    assert page.run("return window.ran ?? null") is None
    assert page.run("return document.querySelectorAll('#words img, #words script, #scores b').length") == 0
    assert page["scores"].text.count(GREEN) == 1
    page.run("const s = document.createElement('script'); s.textContent = 'window.ran = 3'; document.body.append(s)")
    assert page.run("return window.ran ?? null") is None
    refused = page.driver.get_log("browser")  # the one thing that the console may tell
    assert len(refused) == 1
    assert "Content Security Policy" in refused[0]["message"]


def test_a_missing_picture_is_told(page):
    page.keys("k")  # the last one
    choose(page, "LQ", GREEN)
    assert page["right-tag"].text == f"{GREEN}: no picture"
    assert len(page.boxes("#stage")) == 1
    assert "has no picture of demo/cup_2" in page["notes"].get_attribute("textContent")


@pytest.mark.parametrize("view", ["compare", "all", "blind"])
def test_a_phone_sees_all_of_its_width(page, view):
    page.open(view, width=360, height=740)
    if view == "blind":
        page.begin("Phone")
    assert page.run("return document.documentElement.scrollWidth") <= 360
    panes = page.run(f"return [...document.querySelectorAll('#{view}-view .pane')].map((pane) => pane.clientWidth)")
    assert min(panes) > 100


def test_a_phone_shows_where_long_names_differ(page):
    first, second = (f"ablations/guidance/of_many_words/version_{number}" for number in (1, 12))
    page.open(width=360, height=740)
    shown = page.run("return [...arguments].map(shortened)", first, second, "warm/version_0")
    assert shown[0] != shown[1] and shown[2] == "warm/version_0" and max(map(len, shown)) == 32
    assert all(
        name.startswith("ablation") and name.endswith(end) for name, end in zip(shown, ("_1", "_12"), strict=False)
    )
    needed = """
        const context = document.createElement("canvas").getContext("2d"), side = document.getElementById("left");
        context.font = getComputedStyle(side).font;
        return [context.measureText(arguments[0]).width, side.clientWidth];"""
    width, given = page.run(needed, shown[0])
    assert width < given - 20, "and the arrow beside it"
    labels = page.run("return [...document.querySelectorAll('#right option')].map((one) => one.title)")
    assert "warm/version_0" in labels, "the whole name is there, too"


def test_the_dark_scheme(page):
    def brightness() -> int:
        return page.run("return Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")

    assert brightness() > 200
    page.open(scheme="dark")
    assert brightness() < 60


def test_a_blind_test_from_begin_to_end(page, downloads, capsys):
    page.open("blind")
    page.begin("Anna <b>  Lee")
    total = page.run("return session.questions.length")
    assert total == 15  # 3 pairs on the 5 pictures that all have
    for number in range(total):
        question = page.run("const {shot, left, right} = session.questions[session.votes.length]; return [left, right]")
        if number == 0:
            tints = {"warm/version_0": "warm", "cold/version_0": "cold", GREEN: "green"}
            assert page.colors("pane-left", 0.5) + page.colors("pane-right", 0.5) == [tints[name] for name in question]
        seen = page.run("return document.getElementById('blind-view').outerHTML.replace(/base64,[^\"]*/g, '')")
        assert not any(word in seen for word in ("version_0", "Green", "warm", "cold", "demo/"))
        assert page["number"].text == f"{number + 1} of 15"
        if number % 3 == 0:
            page["vote-left"].click()
        elif number % 3 == 1:
            page.keys(Keys.ARROW_RIGHT)
        else:
            page.keys(Keys.ARROW_DOWN)
        page.ready()
    assert all(name in page["outcome"].text for name in RIVALS)
    page["download"].click()
    end = time.monotonic() + PATIENCE
    while not (files := list(downloads.glob("votes_*.json"))):
        assert time.monotonic() < end, "no file was downloaded"
        time.sleep(0.05)
    content = json.loads(files[0].read_text(encoding="utf-8"))
    assert files[0].name == f"votes_{content['gallery']}_Anna_b_Lee.json"
    assert content["voter"] == "Anna <b> Lee"
    assert content["gallery"] in page["identity"].text
    assert [vote["choice"] for vote in content["votes"]] == ["left", "right", "none"] * 5
    assert content["votes"] == page.votes()
    assert main(["votes", str(files[0])]) == 0
    out = capsys.readouterr().out
    assert f"gallery {content['gallery']}: 1 voter, 15 comparisons, 5 without preference" in out
    won = Counter(vote[vote["choice"]] for vote in content["votes"] if vote["choice"] != "none")
    for name in RIVALS:
        row = next(line for line in out.split("\n") if line.startswith(name)).removeprefix(name).split()
        assert (int(row[0]), int(row[2])) == (10, won[name])


def test_undo_takes_the_last_vote_back(page):
    page.open("blind")
    page.begin("Ben")
    assert page["undo"].get_attribute("aria-disabled") == "true"
    page.keys(Keys.ARROW_LEFT)
    page.ready()
    first = page.votes()
    page.keys(Keys.ARROW_RIGHT)
    page.ready()
    page.keys(Keys.BACKSPACE)
    page.ready()
    assert page.votes() == first
    page["undo"].click()
    page.ready()
    assert (page.votes(), page["number"].text) == ([], "1 of 15")


def test_votes_survive_a_reload_and_each_voter_has_own_ones(page):
    page.open("blind")
    page.begin("Cleo")
    for _ in range(3):
        page.keys(Keys.ARROW_LEFT)
        page.ready()
    votes, questions = page.votes(), page.run("return session.questions.map(({shot, ...pair}) => [shot.name, pair])")
    page.open("blind")
    assert page["voter"].get_attribute("value") == "Cleo"
    assert page["begin"].text == "Continue"
    page["begin"].click()
    page.ready()
    assert (page.votes(), page["number"].text) == (votes, "4 of 15")
    assert page.run("return session.questions.map(({shot, ...pair}) => [shot.name, pair])") == questions
    page.open("blind")
    page.begin("Dora")
    assert page.votes() == []
    assert page.run("return session.questions.map(({shot, ...pair}) => [shot.name, pair])") != questions
    page.open("blind")
    page.begin("Cleo")
    assert page.votes() == votes


def test_letters_belong_to_the_field_that_has_the_focus(page):
    before = page.run("return {...state}")
    page["left"].send_keys("j+")
    assert page.run("return [{...state}, view.zoom]") == [before, 1]
    page.open("blind")
    page["voter"].send_keys("jk01x+-")
    assert page["voter"].get_attribute("value") == "jk01x+-"


@pytest.mark.parametrize(
    "text",
    [
        "{broken",
        "null",
        "5",
        '{"Emil": []}',
        "[null]",
        "[5]",
        '[["Emil", null]]',
        '[["Emil", 5]]',
        '[["Emil", [null]]]',
    ],
)
def test_damaged_storage_is_no_storage(page, text):
    page.run("localStorage.setItem(STORAGE_KEY, arguments[0])", text)
    page.open("blind")
    page.begin("Emil")
    page.keys(Keys.ARROW_LEFT)
    page.ready()
    assert len(page.votes()) == 1
    assert not page["unkept"].is_displayed()


def test_what_is_damaged_in_the_storage_does_not_cost_the_rest(page):
    vote = '{"image": "demo/cat_0", "left": "warm/version_0", "right": "cold/version_0", "choice": "left"}'
    page.run("localStorage.setItem(STORAGE_KEY, arguments[0])", f'[["K", null], ["Emil", [{vote}]], ["L", 5]]')
    page.open("blind")
    page.begin("Emil")
    assert page["number"].text == "2 of 15"


def test_two_people_take_turns_on_one_machine(page):
    page.open("blind")
    page.begin("Gina")
    for _ in range(15):
        page.keys(Keys.ARROW_LEFT)
        page.ready()
    page["another-last"].click()
    assert page["start"].is_displayed()
    assert not page["result"].is_displayed()
    assert [page["voter"].get_attribute("value"), page["kept"].text] == ["", ""]
    assert page.run("return document.activeElement.id") == "voter"
    page.keys("Hans", Keys.ENTER)
    page.ready()
    page.keys(Keys.ARROW_RIGHT)
    page.ready()
    assert [vote["choice"] for vote in page.votes()] == ["right"]
    page["another"].click()
    page["voter"].send_keys("Gina")
    assert page["kept"].text == "Stored votes of this name: 15 of 15."
    page["voter"].send_keys(Keys.ENTER)
    page.wait("return !document.getElementById('result').hidden")
    assert [vote["choice"] for vote in page.votes()] == ["left"] * 15
    assert page.run("return storedVotes().get('Hans').length") == 1


def test_one_name_in_several_spellings_is_one_voter(page):
    page.open("blind")
    page.begin("Bob  Le\u0301e")  # an accent of its own
    page.keys(Keys.ARROW_LEFT)
    page.ready()
    page["another"].click()
    page["voter"].send_keys(" bob\u00a0 l\u00e9e ")
    assert page["kept"].text == "Stored votes of this name: 1 of 15."
    page["voter"].send_keys(Keys.ENTER)
    page.ready()
    assert page["number"].text == "2 of 15"
    assert page.run("return [...storedVotes().keys()]") == ["Bob L\u00e9e"]


def test_two_tabs_of_one_voter_lose_no_vote(page):
    """The other tab is played by its traces: what it stores, and the event that the browser tells of it."""
    other = """
        const all = storedVotes();
        const {shot, left, right} = session.questions[all.get('Ida').length];
        all.get('Ida').push({image: shot.name, left, right, choice: 'none', seconds: 1, at: ''});
        localStorage.setItem(STORAGE_KEY, JSON.stringify([...all]));"""
    page.open("blind")
    page.begin("Ida")
    page.keys(Keys.ARROW_LEFT)
    page.ready()
    page.run(other)  # untold: this tab was asleep
    page.keys(Keys.ARROW_LEFT)
    page.ready()
    assert [vote["choice"] for vote in page.votes()] == ["left", "none"]  # what was answered there is not asked again
    assert page["number"].text == "3 of 15"
    page.keys(Keys.ARROW_RIGHT)
    page.ready()
    page.run(other + "dispatchEvent(new StorageEvent('storage', {key: STORAGE_KEY}))")
    page.ready()
    assert page["number"].text == "5 of 15"
    assert page.run("return storedVotes().get('Ida').map(({choice}) => choice)") == ["left", "none", "right", "none"]


def test_the_focus_stays_where_the_hand_is(page):
    label = "return document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"
    button = page["scores"].find_element(By.CSS_SELECTOR, "[aria-label='ground truth on the right']")
    button.send_keys(Keys.ENTER)
    assert page["right-tag"].text == "ground truth"
    assert page.run(label) == "ground truth on the right"
    page.open("blind")
    page.begin("Jo")
    page["vote-none"].send_keys(Keys.ENTER)
    page.ready()
    page.keys(Keys.ENTER)
    page.ready()
    assert page.run(label) == "vote-none"
    assert [vote["choice"] for vote in page.votes()] == ["none", "none"]
    page["undo"].send_keys(Keys.ENTER)
    page.ready()
    page.keys(Keys.ENTER)
    page.ready()
    assert (page.run(label), page.votes()) == ("undo", [])


def test_a_key_held_down_votes_once(page):
    page.open("blind")
    page.begin("Kim")
    page.run("arguments[0].focus()", page["vote-left"])
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    for repeated in (False, True, True, True):
        page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", "autoRepeat": repeated, **key})
        page.ready()
    page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    assert len(page.votes()) == 1


def test_the_zoom_stays_for_pictures_of_one_size(page):
    page.wheel("stage", 100, 50, -600)
    seen = page.run("return [view.x, view.y, view.zoom]")
    assert seen[2] > 1
    page.keys("j")
    assert page["shot-name"].text == "demo/cat_1"
    assert page.run("return [view.x, view.y, view.zoom]") == seen
    page.run("data.shots[2].width += 10")
    page.keys("j")
    assert page.run("return [view.x, view.y, view.zoom]") == [0.5, 0.5, 1]


def test_a_phone_sees_the_header_and_what_to_press(page):
    place = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    page.open("compare", width=360, height=640)
    assert page.run("return scrollY") == 0
    assert page.run(place, "header") == 0
    page.run("scrollTo(0, 500)")
    page.run("location.hash = 'blind'")
    page.wait("return !document.getElementById('blind-view').hidden && scrollY === 0")
    page.begin("Phone")
    assert page.run(place, "#pane-left") > 0
    bottoms = "return [...document.querySelectorAll('.vote')].map((one) => one.getBoundingClientRect().bottom)"
    assert max(page.run(bottoms)) <= 640


def test_a_browser_that_keeps_nothing_says_so(page):
    block = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('blocked'); }})"
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": block})
    try:
        page.open("blind")
        page.begin("Fritz")
        page.keys(Keys.ARROW_LEFT)
        page.ready()
        assert len(page.votes()) == 1
        assert page["unkept"].is_displayed()
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.parametrize(("shots", "methods", "count"), [(50, 6, 50), (50, 5, 50), (16, 3, 32), (7, 4, 42), (5, 2, 5)])
def test_plans_are_balanced(page, shots, methods, count):
    script = """
        const [shots, methods, count, voter] = arguments;
        return plan([...Array(shots).keys()], [...Array(methods).keys()], count, voter)
            .map(({shot, left, right}) => [shot, left, right]);"""
    sides = Counter()
    for voter in range(20):
        asked = page.run(script, shots, methods, count, f"voter {voter}")
        assert len(asked) == count
        assert asked == page.run(script, shots, methods, count, f"voter {voter}")
        by_shot = Counter(shot for shot, _, _ in asked)
        assert max(by_shot.values()) - min(by_shot[shot] for shot in range(shots)) <= 1
        pairs = Counter(tuple(sorted(pair)) for _, *pair in asked)
        every = [pairs[pair] for pair in combinations(range(methods), 2)]
        assert max(every) - min(every) <= 1
        turns = Counter(method for _, *pair in asked for method in pair)
        assert max(turns.values()) - min(turns.values()) <= 2
        assert len({(shot, tuple(sorted(pair))) for shot, *pair in asked}) == count
        sides.update(left for _, left, _ in asked)
        sides["lower"] += sum(left < right for _, left, right in asked)
    # Sides are tossed: four standard deviations of a fair coin. The voters' names are the seeds, so this is no chance.
    tosses = 20 * count
    assert abs(sides["lower"] - tosses / 2) < 4 * (tosses / 4) ** 0.5
