"""The page as a visitor meets it: the installed command, its server, and Chromium without a window."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from facts import mentions
from PIL import Image

from coseg.page.examples import EXAMPLES, Scene, draw_scene, point_on

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver") or shutil.which("chromium.chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="there is no chromium with chromedriver here: apt-get install chromium chromium-driver",
    ),
]

PATIENCE = 120
"""Seconds after which something that should appear will not, on a busy machine."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # for root, who has none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1300,1600",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # what would leave the machine fails
)


class Served(NamedTuple):
    """A running ``coseg-demo``."""

    address: str
    process: subprocess.Popen[str]
    temporary: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with the bundled model, on a free port; its requests to the outside would go to a proxy that is not."""
    temporary = tmp_path_factory.mktemp("temporary")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "coseg.cli.page", "--port", "0", "--no-browser", "--device", "cpu"]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            if found is not None:
                yield Served(found[0], process, temporary)
                return
        pytest.fail("the page did not start: " + "".join(said))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Visitor:
    """What a person does on the page, and sees."""

    def __init__(self, driver: Any, downloads: Path) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver = driver
        self.downloads = downloads
        self._wait = WebDriverWait(driver, PATIENCE, poll_frequency=0.1)

    def find(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def until(self, what: Callable[[], Any], message: str) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException

        def settled(_: Any) -> Any:
            try:
                return what()
            except StaleElementReferenceException:  # replaced while it was looked at
                return False

        return self._wait.until(settled, message)

    def upload(self, *files: Path) -> None:
        self.until(lambda: self.find("#files input[type=file]"), "a place for files")[0].send_keys(
            "\n".join(map(str, files))
        )

    def uploaded(self) -> list[str]:
        return [row.get_attribute("innerText") for row in self.find("#files tr.file")]

    def clear(self) -> None:
        self.find("#files button[aria-label=Clear]")[0].click()
        self.until(lambda: self.find("#files input[type=file]"), "an empty place for files")

    def click(self, selector: str) -> None:
        self.until(lambda: self.find(selector) and self.find(selector)[0].is_enabled(), f"{selector} to be enabled")
        self.find(selector)[0].click()

    def text(self, selector: str) -> str:
        return " ".join(each.text for each in self.find(selector))

    def sources(self, selector: str) -> list[str]:
        return [str(each.get_attribute("src")) for each in self.find(f"{selector} img")]

    def pictures(self, selector: str) -> list[np.ndarray]:
        """The pictures themselves, as the server gives them."""
        return [np.asarray(Image.open(io.BytesIO(_fetched(source)))) for source in self.sources(selector)]

    def show(self, view: str) -> list[np.ndarray]:
        """Switch the gallery, and give its pictures."""
        before = self.sources("#gallery")
        next(label for label in self.find("#view label") if label.text == view).click()
        self.until(
            lambda: (now := self.sources("#gallery")) and len(now) == len(before) and not set(now) & set(before), view
        )
        return self.pictures("#gallery")

    def masks(self) -> list[np.ndarray]:
        """Of the gallery, which shows masks, when they no longer change."""
        before: list[str] = []

        def is_still() -> bool:
            nonlocal before
            time.sleep(1)
            earlier, before = before, self.sources("#gallery")
            return earlier == before

        self.until(is_still, "a gallery that stays")
        return self.pictures("#gallery")

    def point(self, x: float, y: float) -> None:
        """Click in the chosen photograph, at shares of its width and height; until what was clicked is drawn."""
        from selenium.webdriver import ActionChains

        progress = "#chosen [data-testid=status-tracker]:not(.hide)"
        self.until(lambda: not any(bar.is_displayed() for bar in self.find(progress)), "no progress over it")
        image, before = self.find("#chosen img")[0], self.sources("#chosen")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", image)
        across, down = round((x - 0.5) * image.size["width"]), round((y - 0.5) * image.size["height"])
        ActionChains(self.driver).move_to_element_with_offset(image, across, down).click().perform()
        self.until(lambda: self.sources("#chosen") != before, "what was clicked")

    def hosts(self) -> set[str | None]:
        """Of all requests since the browser started, but for the browser's own pages."""
        messages = [json.loads(each["message"])["message"] for each in self.driver.get_log("performance")]
        urls = [
            each["params"].get("request", each["params"]).get("url", "")
            for each in messages
            if each["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]
        return {urlsplit(url).hostname for url in urls if urlsplit(url).scheme in ("http", "https", "ws", "wss")}


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield Visitor(driver, downloads)
    finally:
        driver.quit()


def _fetched(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=PATIENCE) as answer:
        return bytes(answer.read())


def _files(temporary: Path) -> list[Path]:
    return [path for path in temporary.rglob("*") if path.is_file()]


def test_a_visit(served: Served, visitor: Visitor, half_red: Callable[..., Path], tmp_path: Path) -> None:
    """One visit from the first look to the last, in one browser; each step begins where the one before ended."""
    a, b = half_red(tmp_path / "first.png", 900, 600), half_red(tmp_path / "second.png", 200, 300, 120)
    wrong = tmp_path / "notes.jpg"
    wrong.write_text("no picture")

    visitor.driver.get(served.address)
    _one_photograph_is_not_enough(visitor, a)
    _a_file_past_the_limit_is_refused(visitor, tmp_path)
    _two_photographs_get_masks_and_the_wrong_file_a_message(visitor, [a, wrong, b])
    _the_threshold_moves_the_masks(visitor)
    _everything_can_be_downloaded(visitor)
    _other_photographs_clear_the_results(visitor, b)
    _the_example_set_can_be_tried(visitor)
    scenes = [draw_scene(spec) for spec in EXAMPLES[3].scenes]
    _scenes_of_two_kinds_of_objects_are_cosegmented(visitor)
    _a_click_on_an_object_finds_that_one(visitor, scenes)
    _a_rectangle_by_two_clicks_finds_the_other(visitor, scenes)
    _a_second_object_gets_its_name_colour_and_masks(visitor, scenes)
    _the_page_fits_a_phone(visitor)
    assert visitor.hosts() == {"127.0.0.1"}

    assert _files(served.temporary)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(PATIENCE) == 0
    assert not _files(served.temporary), "uploads and results are removed at the end"


def _one_photograph_is_not_enough(visitor: Visitor, photograph: Path) -> None:
    visitor.upload(photograph)
    visitor.until(lambda: len(visitor.uploaded()) == 1, "one file")
    visitor.click("#press")
    visitor.until(lambda: mentions(visitor.text("#notice"), "two photographs"), "a message")
    assert not visitor.sources("#gallery")
    visitor.clear()


def _a_file_past_the_limit_is_refused(visitor: Visitor, folder: Path) -> None:
    large = folder / "large.png"
    with large.open("wb") as file:
        file.truncate(51 * 2**20)
    visitor.upload(large)
    visitor.until(lambda: "exceed the maximum" in visitor.text(".toast-wrap"), "a message of the size")
    assert visitor.uploaded() == []


def _two_photographs_get_masks_and_the_wrong_file_a_message(visitor: Visitor, files: list[Path]) -> None:
    visitor.upload(*files)
    visitor.until(lambda: len(visitor.uploaded()) == len(files), "all files")
    visitor.click("#press")
    visitor.until(lambda: len(visitor.sources("#gallery")) == 2, "two pictures")
    assert mentions(visitor.text("#notice"), "notes.jpg", "image")
    assert "photographs" in visitor.text("#verdict .answer") and "%" not in visitor.text("#verdict")
    visitor.click("#verdict summary")
    assert mentions(visitor.text("#verdict"), "% likely", "interval", "voc val", "seed")
    assert [picture.shape for picture in visitor.pictures("#gallery")] == [(600, 900, 3), (300, 200, 3)]
    assert [picture.shape for picture in visitor.show("Cut-out")] == [(600, 900, 4), (300, 200, 4)]
    first, second = visitor.show("Mask")
    assert first.shape == (600, 900) and second.shape == (300, 200) and set(np.unique(first)) <= {0, 255}
    assert mentions(visitor.text("#gallery"), "first.png", "second.png")


def _the_threshold_moves_the_masks(visitor: Visitor) -> None:
    from selenium.webdriver.common.keys import Keys

    shares = []
    for key in (Keys.HOME, Keys.END):
        before = visitor.sources("#gallery")
        visitor.find("#threshold input[type=range]")[0].send_keys(key)
        visitor.until(lambda before=before: visitor.sources("#gallery") != before, "other masks")
        shares.append([mask.mean() / 255 for mask in visitor.pictures("#gallery")])
    assert sum(shares[0]) - sum(shares[1]) > 0.3


def _everything_can_be_downloaded(visitor: Visitor) -> None:
    visitor.click("#download")
    path = visitor.downloads / "coseg.zip"
    visitor.until(path.is_file, "the zip file")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        kinds = ("mask.png", "overlay.jpg", "cutout.png")
        names = [f"{stem}_{kind}" for stem in ("first", "second") for kind in kinds]
        assert sorted(archive.namelist()) == sorted([*names, "scores.json"])
        mask = Image.open(io.BytesIO(archive.read("first_mask.png")))
        scores = json.loads(archive.read("scores.json"))
    assert mask.size == (900, 600)
    assert scores["threshold"] == 0.98 and [each["file"] for each in scores["images"]] == ["first.png", "second.png"]


def _other_photographs_clear_the_results(visitor: Visitor, photograph: Path) -> None:
    visitor.clear()
    visitor.until(lambda: not visitor.sources("#gallery"), "no results")
    assert "changed" in visitor.text("#verdict") and not visitor.text("#download")
    visitor.upload(photograph)
    visitor.until(lambda: len(visitor.uploaded()) == 1, "one file")


def _the_example_set_can_be_tried(visitor: Visitor) -> None:
    visitor.click("#examples button")
    visitor.until(lambda: len(visitor.sources("#gallery")) == 2, "two pictures")
    visitor.until(lambda: any("pair_1" in each for each in visitor.uploaded()), "the example's files")
    assert [picture.shape for picture in visitor.pictures("#gallery")] == [(300, 400), (300, 400)]
    visitor.show("Overlay")
    assert visitor.text("#notice").strip() == "" and visitor.text("#verdict .answer").startswith("Both photographs")
    visitor.clear()
    visitor.until(lambda: not visitor.sources("#gallery"), "no results")


def _scenes_of_two_kinds_of_objects_are_cosegmented(visitor: Visitor) -> None:
    visitor.find("#examples button")[3].click()
    visitor.until(lambda: len(visitor.sources("#gallery")) == 3, "three pictures")
    assert visitor.text("#verdict .answer").startswith("All three photographs")
    assert mentions(visitor.text("#gallery"), "two_3.png", "% likely")
    visitor.show("Mask")
    visitor.click("#showing button")
    visitor.until(lambda: visitor.find("#chosen img"), "a photograph to click in")


def _iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((truth & (mask > 0)).sum() / (truth | (mask > 0)).sum())


def _a_click_on_an_object_finds_that_one(visitor: Visitor, scenes: list[Scene]) -> None:
    before = [_iou(mask, scene.masks["sheep"]) for mask, scene in zip(visitor.masks(), scenes, strict=True)]
    x, y = point_on(scenes[0], "sheep")
    drawn = visitor.sources("#gallery")
    visitor.point(x / 400, y / 300)
    visitor.until(lambda: mentions(visitor.text("#verdict"), "you showed", "all three"), "the answer")
    visitor.until(lambda: visitor.sources("#gallery") != drawn, "other masks")
    after = [_iou(mask, scene.masks["sheep"]) for mask, scene in zip(visitor.masks(), scenes, strict=True)]
    assert min(after) > 0.8 and max(before) < 0.7
    assert mentions(visitor.text("#shown"), "a point in two_1.png", "taken for")
    (shown,) = visitor.pictures("#chosen")
    shown = np.asarray(Image.fromarray(shown).convert("RGB").resize((400, 300)))
    changed = (np.abs(shown.astype(int) - scenes[0].picture) > 40).any(-1)
    assert changed[scenes[0].masks["sheep"]].mean() > 0.6 and changed[:, :200].mean() < 0.02
    assert [heat.shape for heat in visitor.show("What matched")] == [(300, 400, 3)] * 3
    visitor.show("Mask")


def _a_rectangle_by_two_clicks_finds_the_other(visitor: Visitor, scenes: list[Scene]) -> None:
    visitor.click("#take-all-back")
    visitor.until(lambda: visitor.text("#verdict").startswith("All three"), "the answer without what was shown")
    visitor.find("#chooser button.thumbnail-item")[1].click()
    visitor.until(lambda: "two_2.png" in visitor.text("#chosen"), "the second photograph")
    visitor.find("#tool label")[1].click()
    rows, columns = np.nonzero(scenes[1].masks["aeroplane"])
    visitor.point(columns.min() / 400, rows.min() / 300)
    visitor.until(lambda: "opposite corner" in visitor.text("#shown"), "the first corner")
    drawn = visitor.sources("#gallery")
    visitor.point(columns.max() / 400, rows.max() / 300)
    visitor.until(lambda: "you showed" in visitor.text("#verdict"), "the answer")
    visitor.until(lambda: visitor.sources("#gallery") != drawn, "other masks")
    assert mentions(visitor.text("#shown"), "a rectangle in two_2.png", "taken for")
    found = [_iou(mask, scene.masks["aeroplane"]) for mask, scene in zip(visitor.masks(), scenes, strict=True)]
    assert min(found) > 0.55


def _a_second_object_gets_its_name_colour_and_masks(visitor: Visitor, scenes: list[Scene]) -> None:
    name = "#name textarea, #name input"
    visitor.find(name)[0].send_keys("plane")
    visitor.click("#add")  # in the same moment the name is taken over
    visitor.until(lambda: mentions(visitor.text("#objects"), "plane · 1 click", "Object 2"), "two objects")
    assert mentions(visitor.text("#verdict"), "“plane”") and visitor.find(name)[0].get_attribute("value") == ""
    visitor.find("#tool label")[0].click()
    x, y = point_on(scenes[1], "sheep")
    visitor.point(x / 400, y / 300)
    visitor.until(lambda: mentions(visitor.text("#gallery"), "two_3.png", "plane: ", "Object 2: "), "both objects")
    assert mentions(visitor.text("#verdict"), "“plane”", "“Object 2” seems to be in all three")
    choices = [label for label in visitor.find("#which label") if label.is_displayed()]
    assert [label.text for label in choices] == ["All objects", "plane", "Object 2"]
    labels = visitor.masks()[0]
    assert len(np.unique(labels.reshape(-1, *labels.shape[2:]), axis=0)) == 3
    before = visitor.sources("#gallery")
    choices[2].click()
    visitor.until(lambda: not set(visitor.sources("#gallery")) & set(before), "the second object alone")
    sheep = [_iou(mask, scene.masks["sheep"]) for mask, scene in zip(visitor.masks(), scenes, strict=True)]
    assert min(sheep) > 0.7


def _the_page_fits_a_phone(visitor: Visitor) -> None:
    def size(width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        visitor.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        visitor.until(lambda: visitor.driver.execute_script("return innerWidth") == width, "the width")

    def widths() -> list[float]:
        return [
            item.find_element("css selector", "img").rect["width"] for item in visitor.find("#gallery .thumbnail-item")
        ]

    size(1280, 900)
    visitor.until(lambda: min(widths()) >= 400, "large pictures")
    size(390, 844)
    visitor.until(lambda: 360 <= min(widths()) <= max(widths()) <= 390, "pictures of the phone's width")
    wide = """return [...document.querySelectorAll('.contain *')]
        .filter(e => e.getBoundingClientRect().right > 391).map(e => e.outerHTML.slice(0, 80))"""
    inner = [html for html in visitor.driver.execute_script(wide) if "svg" not in html]
    assert not inner and visitor.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    for item in visitor.find("#gallery .thumbnail-item"):
        picture, caption = (item.find_element("css selector", name) for name in ("img", ".caption-label"))
        assert caption.rect["y"] >= picture.rect["y"] + picture.rect["height"] - 1
