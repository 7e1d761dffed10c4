"""A headless Chromium for tests of pages. Knows where it is, and that nothing may be downloaded for it."""

import shutil
from pathlib import Path

import pytest
from selenium import webdriver


def headless_chromium(downloads: Path | None = None) -> webdriver.Chrome:
    """It logs its console and its requests. Skips where there is none. `downloads`: folder for what it saves."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("no chromium or chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])  # with both named, selenium has nothing to look for or download
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(programs[1])))
    if downloads is not None:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    return driver
