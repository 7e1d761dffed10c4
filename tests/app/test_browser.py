"""The page as a person meets it: `lit-pure app` in a process of its own, and headless Chromium dropping files on it.

Skipped where Gradio, Chromium or selenium is missing. The process runs in an empty home with an empty folder for
temporary files, so that whatever it leaves behind is seen.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.app import pictures

pytest.importorskip("gradio", reason="gradio is not installed")
selenium = pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

from tests.browser import headless_chromium  # noqa: E402

PATIENCE = 120  # seconds
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # localhost is never behind a proxy
SAID = "return document.querySelector('#status p')?.innerText"
WATCH = """window.seen = new Set();
const look = () => document.querySelectorAll('.progress-level-inner, .progress-text').forEach(
    (level) => seen.add(level.innerText));
new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true})"""


@dataclass
class App:
    """The command while it runs."""

    url: str
    process: subprocess.Popen[str]
    home: Path
    temporary: Path

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; exit status and standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors


@contextmanager
def running(house: Path, folder: Path) -> Iterator[App]:
    home, temporary = folder / "home", folder / "tmp"
    for place in (home, temporary):
        place.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "GRADIO_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "lit_pure", "app", "--run", "demo", "--port", "0", "--max-pixels", "5000"],
        cwd=house,
        env=kept | {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stderr
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), line + process.stderr.read()
        yield App(line.split()[0], process, home, temporary)
    finally:
        process.kill()
        process.communicate()


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture(scope="module")
def app(built_house: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """At the end it is told to stop; nothing may be left of it then, nor may it have written anywhere else."""
    before = files_below(built_house)
    with running(built_house, tmp_path_factory.mktemp("app")) as app:
        yield app
        [folder] = app.temporary.iterdir()  # all that is written lies in it
        assert any(path.name == "cat.png" for path in files_below(folder))
        status, errors = app.end(signal.SIGTERM)
    assert (status, "Traceback" in errors) == (143, False), errors
    assert not files_below(app.temporary) and not files_below(app.home)
    assert files_below(built_house) == before


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    driver = headless_chromium()
    yield driver
    driver.quit()


class Page:
    """The page, opened afresh."""

    def __init__(self, driver: webdriver.Chrome, app: App, width: int = 1280) -> None:
        self.driver, self.app = driver, app
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(app.url)
        self.wait("return document.querySelector('#upload input[type=file]')")
        driver.execute_script(WATCH)

    def drop(self, file: Path) -> str:
        """Give it a file; what it says in the end."""
        self.driver.find_element(By.CSS_SELECTOR, "#upload input[type=file]").send_keys(str(file))
        return self.wait(SAID)

    def wait(self, script: str):
        end = time.monotonic() + PATIENCE
        while not (found := self.driver.execute_script(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return found

    def downloaded(self, folder: Path, name: str) -> np.ndarray:
        """What the button saves."""
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        self.wait("return document.querySelector('#download')?.offsetParent")
        self.driver.execute_script("document.querySelector('#download').click()")
        end = time.monotonic() + PATIENCE
        while not (folder / name).exists():
            assert time.monotonic() < end, f"{name} was not saved; there is {list(folder.iterdir())}"
            time.sleep(0.05)
        return np.asarray(Image.open(folder / name))

    def before(self) -> np.ndarray:
        """The picture that the restored one is compared with."""
        with OPENER.open(self.wait("return document.querySelector('#slider img')?.src"), timeout=PATIENCE) as answer:
            return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))

    def alert(self) -> bool:
        return bool(self.driver.find_elements(By.CSS_SELECTOR, "#status [role=alert]"))

    def shows(self, name: str) -> bool:
        return any(found.is_displayed() for found in self.driver.find_elements(By.ID, name))


def test_a_png_is_restored_with_progress(chromium, app, tmp_path):
    page = Page(chromium, app)
    said = page.drop(pictures.make_png(tmp_path / "cat.png", 48, 64))
    assert "cat.png, 64 x 48 px, restored to 256 x 192 px by demo/version_0" in said
    for name in ("slider", "words", "maps", "others"):
        page.wait(f"return document.querySelector('#{name}')?.offsetParent")
    assert not page.alert()
    assert page.downloaded(tmp_path, "cat_restored.png").shape == page.before().shape == (192, 256, 3)
    assert any("cat.png" in text and "%" in text for text in page.driver.execute_script("return [...seen]"))


def test_a_rotated_jpeg_is_restored_upright_on_a_phone(chromium, app, tmp_path):
    page = Page(chromium, app, width=390)
    said = page.drop(pictures.make_rotated_jpeg(tmp_path / "tall.jpg", 40, 24))
    assert "24 x 40 px, restored to 96 x 160 px" in said and not page.alert()
    assert page.downloaded(tmp_path, "tall_restored.png").shape == (160, 96, 3)
    upright = Image.fromarray(pictures.photograph(40, 24)).resize((96, 160), Image.Resampling.BICUBIC)
    assert np.abs(page.before() - np.asarray(upright, float)).mean() < 8  # turned wrongly it would be 40 and more
    sides = page.driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert sides[0] <= sides[1]  # nothing is cut off at the right
    order = "return ['upload', 'slider', 'maps', 'turn'].map((id) => document.getElementById(id).offsetTop)"
    tops = page.driver.execute_script(order.replace(".offsetTop", ".getBoundingClientRect().top"))
    assert tops == sorted(tops)  # no scrolling past knobs to see the picture


def test_a_text_file_is_refused(chromium, app, tmp_path):
    page = Page(chromium, app)
    said = page.drop(pictures.make_text(tmp_path / "letter.txt"))
    assert said.startswith("letter.txt: not a picture") and page.alert()
    assert not page.shows("download") and not page.shows("others")


def test_80_megapixels_are_refused(chromium, app, tmp_path):
    page = Page(chromium, app)
    said = page.drop(pictures.make_80_megapixels(tmp_path / "huge.png"))
    assert "80.0 million pixels" in said and "at most 5,000" in said and page.alert()
    assert not page.shows("download")


def test_the_browser_asked_nobody_else(chromium, app):
    """After all that was done above; no error on the console either."""
    Page(chromium, app)
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith(app.url) for url in asked)
    assert [url for url in asked if not url.startswith((app.url, "data:", "blob:"))] == []
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_control_c_leaves_nothing(built_house, tmp_path):
    with running(built_house, tmp_path) as app:
        with OPENER.open(app.url, timeout=PATIENCE) as answer:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert files_below(app.temporary)
        status, errors = app.end(signal.SIGINT)
    assert (status, errors) == (130, "the page is closed, and nothing of it is left\n")
    assert not files_below(app.temporary)
