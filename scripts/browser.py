"""Open Debian's Chromium without a screen, and see what a page schedules to be heard."""

import contextlib
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

__all__ = ["HEARING", "missing", "open_browser"]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)

HEARING = """
window.heard = {sources: [], stopped: 0, clicked_ms: null};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (at) {
  const data = this.buffer.getChannelData(0);
  const in_ms = (at - this.context.currentTime) * 1000;
  const at_ms = performance.now() + in_ms;
  heard.sources.push({at, rate: this.buffer.sampleRate, at_ms, samples: data.slice()});
  return start.call(this, at);
};
const stop = AudioBufferSourceNode.prototype.stop;
AudioBufferSourceNode.prototype.stop = function (at) { heard.stopped += 1; return stop.call(this, at); };
const onClick = (event) => { if (event.target.matches(".speak")) heard.clicked_ms = performance.now(); };
addEventListener("click", onClick, {capture: true});
"""
"""What each page runs first: it notes the samples that are scheduled, when each begins, and the click."""


def missing() -> str | None:
    """Return what a browser cannot be opened without, None if all is there."""
    if importlib.util.find_spec("selenium") is None:
        return "the package selenium"
    for program, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        if shutil.which(program) is None:
            return f"{program}: apt-get install {package}"
    return None


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """Yield a Selenium driver of a browser that nobody has used before."""
    from selenium import webdriver

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.binary_location = shutil.which("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options=options, service=service)
        try:
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HEARING})
            yield driver
        finally:
            driver.quit()
