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

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver") or shutil.which("chromium.chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="there is no chromium with chromedriver here: apt-get install chromium chromium-driver",
)

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


NETWORK = {
    "_target_": "coseg.models.cross_correlation.CrossCorrelationNetwork",
    "encoder": {"_target_": "coseg.models.encoders.vgg.VGG16Encoder", "width": 0.125, "stride": 8, "weights": None},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learned nothing, as a folder to share."""
    import torch

    from coseg.hub.share import save_pretrained
    from coseg.instantiate import build_network

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_pretrained(folder, NETWORK, build_network(NETWORK), {"size": 64})
    return folder


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with a tiny network, on a free port; its requests to the outside would go to a proxy that is not."""
    temporary = tmp_path_factory.mktemp("temporary")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "coseg.cli.page", "--port", "0", "--no-browser", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--checkpoint", str(model)],
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

    def changed(self, selector: str, before: list[str]) -> None:
        self.until(
            lambda: (now := self.sources(selector)) and len(now) == len(before) and not set(now) & set(before),
            f"{selector} to change",
        )

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
    _a_point_gets_a_response(visitor)
    _everything_can_be_downloaded(visitor)
    _other_photographs_clear_the_results(visitor, b)
    _the_example_set_can_be_tried(visitor)
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
    assert not visitor.sources("#masks")
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
    visitor.until(lambda: len(visitor.sources("#masks")) == 2, "two masks")
    assert mentions(visitor.text("#notice"), "notes.jpg", "image")
    assert "not calibrated" in visitor.text("#verdict")  # this network is not calibrated
    first, second = visitor.pictures("#masks")
    assert first.shape == (512, 768) and second.shape == (300, 200)
    assert set(np.unique(first)) <= {0, 255}
    assert [each.shape for each in visitor.pictures("#overlays")] == [(512, 768, 3), (300, 200, 3)]
    assert [each.shape for each in visitor.pictures("#cutouts")] == [(512, 768, 4), (300, 200, 4)]


def _the_threshold_moves_the_masks(visitor: Visitor) -> None:
    from selenium.webdriver.common.keys import Keys

    shares = []
    for key in (Keys.HOME, Keys.END):
        before = visitor.sources("#masks")
        visitor.find("#threshold input[type=range]")[0].send_keys(key)
        visitor.changed("#masks", before)
        shares.append([mask.mean() / 255 for mask in visitor.pictures("#masks")])
    assert min(shares[0]) > max(shares[1])
    assert np.mean(shares[0]) - np.mean(shares[1]) > 0.5  # 0.02 marks nearly all, 0.98 nearly nothing


def _a_point_gets_a_response(visitor: Visitor) -> None:
    from selenium.webdriver import ActionChains

    before_a, before_b = visitor.sources("#point-a"), visitor.sources("#response-b")
    image = visitor.find("#point-a img")[0]
    visitor.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", image)
    width = image.size["width"]
    ActionChains(visitor.driver).move_to_element_with_offset(image, -width // 4, 0).click().perform()
    visitor.changed("#response-b", before_b)
    visitor.changed("#point-a", before_a)
    (marked,), (heat,) = visitor.pictures("#point-a"), visitor.pictures("#response-b")
    assert marked.shape == (512, 768, 3) and heat.shape == (300, 200, 3)
    ring = np.argwhere((marked == 255).all(-1)).mean(0)  # white, on a picture without white
    assert abs(ring[0] / 512 - 0.5) < 0.02 and abs(ring[1] / 768 - 0.25) < 0.02
    assert mentions(visitor.text("#matched"), "second.png", "first.png")


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
    visitor.until(lambda: not visitor.sources("#masks") and not visitor.sources("#cutouts"), "no results")
    assert "changed" in visitor.text("#verdict")
    assert not visitor.find("#download")[0].is_enabled()
    visitor.upload(photograph)
    visitor.until(lambda: len(visitor.uploaded()) == 1, "one file")


def _captions_cover_nothing_and_fit_a_phone(visitor: Visitor) -> None:
    size = visitor.driver.get_window_size()
    visitor.driver.set_window_size(500, 900)  # Chromium's windows are no narrower
    try:
        for item in visitor.find(".results .thumbnail-item"):
            picture, caption = (item.find_element("css selector", name) for name in ("img", ".caption-label"))
            assert caption.rect["y"] >= picture.rect["y"] + picture.rect["height"] - 1
            assert caption.rect["width"] <= 500 and caption.value_of_css_property("white-space") == "normal"
        tops = [visitor.find(name)[0].rect["y"] for name in ("#cutouts", "#overlays", "#masks")]
        assert tops == sorted(tops)
    finally:
        visitor.driver.set_window_size(size["width"], size["height"])


def _the_example_set_can_be_tried(visitor: Visitor) -> None:
    visitor.click("#examples button")
    visitor.until(lambda: len(visitor.sources("#masks")) == 2, "two masks")
    _captions_cover_nothing_and_fit_a_phone(visitor)
    visitor.until(lambda: any("pair_1" in each for each in visitor.uploaded()), "the example's files")
    assert [each.shape for each in visitor.pictures("#masks")] == [(300, 400), (300, 400)]
    assert visitor.text("#notice").strip() == ""
