"""Measure in a browser how long after the click the page at / begins to sound.

    python benchmarks/page.py [--voice joe] [--addons addons] [--clicks 10] [--json out.json]

Each of three fresh browsers opens the page, waits a second, and clicks Speak. The server runs on the same machine, and
so does the browser, which takes time from it. Counted are the time until the first samples are there, and until the
moment for which they are scheduled; what the sound device adds behind that, no page can see.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import browser

BROWSERS = 3
TEXT = "Hello there. This is a voice that speaks while it is still being made."


def click(driver) -> dict:
    """Speak once; return what it took."""
    driver.execute_script("heard.sources = []")
    driver.find_element("css selector", ".speak").click()
    while not driver.find_element("css selector", ".status").text.startswith("Done"):
        time.sleep(0.05)
    first_sound_ms = driver.execute_script("return heard.sources[0].at_ms - heard.clicked_ms")
    shown = [one.text for one in driver.find_elements("css selector", ".figures dd")]
    dry = "dry" in driver.find_element("css selector", ".status").text
    return {"first_audio_ms": float(shown[0].split()[0]), "first_sound_ms": first_sound_ms, "ran_dry": dry}


def measure(url: str, voice: str, clicks: int) -> list[list[dict]]:
    """Return, for each browser, what each click took."""
    found = []
    for _ in range(BROWSERS):
        with browser.open_browser() as driver:
            driver.get(f"{url}/")
            time.sleep(1)
            script = "const v = document.querySelector('.voice'); v.value = arguments[0]; "
            driver.execute_script(script + "v.dispatchEvent(new Event('change'))", voice)
            box = "const t = document.querySelector('#text'); t.value = arguments[0]"
            driver.execute_script(box, TEXT)
            found.append([click(driver) for _ in range(clicks)])
    return found


def report(found: list[list[dict]]) -> None:
    """Print first clicks and all clicks apart: a first one also opens the sound device."""
    every = [row for one in found for row in one]
    for name, rows in {"first clicks": [one[0] for one in found], "all clicks": every}.items():
        cells = []
        for key in ("first_audio_ms", "first_sound_ms"):
            values = sorted(row[key] for row in rows)
            cells.append(f"{key} median {statistics.median(values):.0f}, most {values[-1]:.0f}")
        dry = sum(row["ran_dry"] for row in rows)
        print(f"{name:<12}  {'; '.join(cells)}; ran dry in {dry} of {len(rows)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voice", default="joe")
    parser.add_argument("--addons", default="addons")
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if missing := browser.missing():
        sys.exit(f"it needs {missing}")
    command = [
        sys.executable,
        "-m",
        "voxstack",
        "serve",
        "--addons",
        options.addons,
        "--voice",
        options.voice,
    ]
    server = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = server.stdout.readline().split(" at ")[1].split(";")[0].strip()
        found = measure(url, options.voice, options.clicks)
    finally:
        server.terminate()
        server.wait()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    report(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
