"""A person with a browser can choose a voice, hear it stream, stop it, see its work, by keys alone, too."""

import json
import time

import anyio
import numpy as np
import pytest

import browser
from voxstack.server.hearing import Hearing
from voxstack.server.keys import add_key

pytestmark = pytest.mark.slow

LONG = "Bad cab. " * 100
PATIENCE_S = 60
SCHEMES = ("light", "dark")

CONTRASTS = """
const channel = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parts(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
return Array.from(document.querySelectorAll("body *"))
  .filter((element) => element.checkVisibility() && getComputedStyle(element).display !== "none")
  .filter((element) => Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim()))
  .map((element) => {
    const style = getComputedStyle(element);
    const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [a, b] = [light(parts(ink)), light(ground(element))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), element.textContent.trim().slice(0, 40)];
  });
"""


class Page:
    """The page in a browser, by what a person sees of it."""

    def __init__(self, driver, url: str) -> None:
        self.driver = driver
        driver.get(f"{url}/")
        self.until(lambda: self.all("#panels .panel") or self.one("#key-form").is_displayed())

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def run(self, script, *given):
        return self.driver.execute_script(script, *given)

    def until(self, is_so, why=None):
        end = time.monotonic() + PATIENCE_S
        while not (found := is_so()):
            assert time.monotonic() < end, why or self.statuses()
            time.sleep(0.01)
        return found

    def write(self, text):
        script = "const [box, text] = arguments; box.value = text; box.dispatchEvent(new Event('input'))"
        self.run(script, self.one("#text"), text)

    def choose(self, voice, panel=0):
        script = "const [box, name] = arguments; box.value = name; box.dispatchEvent(new Event('change'))"
        self.run(script, self.all(".voice")[panel], voice)

    def statuses(self):
        return [status.text for status in self.all(".panel > .status")]

    def speak(self, panel=0, until="Done"):
        self.all(".speak")[panel].click()
        self.until(lambda: self.statuses()[panel].startswith(until))

    def heard(self):
        """Return what was scheduled, samples and all."""
        return self.run("""
            const sources = heard.sources.map((one) => ({...one, samples: Array.from(one.samples)}));
            return {...heard, sources};
        """)

    def count(self):
        """Return how many chunks were scheduled."""
        return self.run("return heard.sources.length")

    def emulate(self, scheme="light", motion="no-preference", width=1280):
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def press_together(self, held, key):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).key_down(held).send_keys(key).key_up(held).perform()

    def focused(self):
        return self.driver.switch_to.active_element

    def complaints(self):
        """Return what the console has of errors, and forget it."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def driver():
    if missing := browser.missing():
        pytest.skip(f"no browser here; it needs {missing}")
    with browser.open_browser() as found:
        yield found


@pytest.fixture
def page(driver, served):
    found = Page(driver, served.url)
    found.emulate()
    found.choose("tone")
    yield found
    assert found.complaints() == []


def test_what_is_scheduled_is_the_voices_audio_without_a_gap(page, served, record_property):
    page.write("Bad cab. A badge, a beach.")
    page.speak()
    heard = page.heard()
    parts = heard["sources"]
    assert len(parts) > 1
    ends = [part["at"] + len(part["samples"]) / part["rate"] for part in parts]
    assert [part["at"] for part in parts[1:]] == pytest.approx(ends[:-1], abs=1e-6)
    _, body, _ = served.say("Bad cab. A badge, a beach.")
    wanted = np.frombuffer(body, "<i2") / 32767
    np.testing.assert_allclose(np.concatenate([part["samples"] for part in parts]), wanted, atol=1e-6)
    record_property("first_sound_ms", round(parts[0]["at_ms"] - heard["clicked_ms"], 1))


@pytest.fixture
def slow_voices(monkeypatch):
    """Make voices take their time for each chunk, as large ones do."""
    usual = Hearing.next

    async def late(self):
        await anyio.sleep(0.2)
        return await usual(self)

    monkeypatch.setattr(Hearing, "next", late)


@pytest.mark.usefixtures("slow_voices")
def test_it_begins_to_play_before_all_of_it_is_made_and_stop_closes_the_request(page, served):
    left = 'voxstack_cancellations_total{reason="left",voice="tone"}'
    before = served.metric(left)
    page.write(LONG)
    page.speak(until="Speaking")
    page.until(lambda: page.count() == 2)
    assert served.desk.in_flight == 1
    page.one(".stop").click()
    page.until(lambda: served.desk.in_flight == 0, "the server speaks on")
    assert page.count() < 5
    assert page.statuses()[0].startswith("Stopped after ")
    count = page.count()
    time.sleep(0.5)
    assert page.count() == count
    assert served.metric(left) == before + 1


def test_stop_silences_what_was_scheduled(page):
    page.write(LONG)
    page.speak(until="Speaking")
    page.until(lambda: page.count() > 5)
    page.one(".stop").click()
    assert page.run("return heard.stopped") > 3


def test_each_word_lights_up_in_its_turn(page):
    page.write("Bad cab. A badge.")
    page.run("""
        window.lit = [];
        const note = () => {
            const word = document.querySelector(".spoken .now")?.textContent;
            if (word && lit.at(-1) !== word) lit.push(word);
            requestAnimationFrame(note);
        };
        note();
    """)
    page.speak()
    assert page.run("return lit") == ["Bad", "cab", "A", "badge"]
    assert page.all(".spoken .now") == []
    assert page.one(".spoken").text == "Bad cab. A badge."


def test_words_after_letters_outside_the_basic_plane_light_up_whole(page):
    page.write("Bad 😀 cab.")
    page.speak()
    assert [word.text for word in page.all(".spoken .word")] == ["Bad", "cab"]
    assert page.one(".spoken").text == "Bad 😀 cab."


def test_the_mel_shows_the_pitch_that_is_heard(page):
    page.write("b" * 20)
    page.speak()
    script = """
        const canvas = document.querySelector(".sound");
        const pen = canvas.getContext("2d");
        const from = Math.ceil(canvas.height * 0.38) + 1;
        const column = pen.getImageData(canvas.width / 2, from, 1, canvas.height - from).data;
        const red = Array.from({length: column.length / 4}, (_, y) => column[4 * y]);
        const wave = pen.getImageData(canvas.width / 2, 0, 1, from).data;
        const at = (y) => Array.from(wave.slice(4 * Math.floor(y), 4 * Math.floor(y) + 3));
        return [red.indexOf(Math.max(...red)) / red.length, at(2), at(from / 2)];
    """
    from_top, edge, middle_line = page.run(script)
    parts = [part["samples"] for part in page.heard()["sources"]]
    samples = np.concatenate(parts)[len(parts[0]) :]
    middle = samples[len(samples) // 2 :][:4096] * np.hanning(4096)
    hz = np.argmax(np.abs(np.fft.rfft(middle))) * 24_000 / 4096
    mel = np.log10(1 + hz / 700) / np.log10(1 + 12_000 / 700)
    assert 1 - from_top == pytest.approx(mel, abs=0.05)
    assert edge != middle_line
    assert "seconds" in page.one(".sound").accessible_name


def test_first_audio_real_time_factor_and_chunks_are_shown(page):
    page.write("Bad cab. A badge, a beach.")
    page.speak()
    terms = [term.text for term in page.all(".figures dt")]
    values = [value.text for value in page.all(".figures dd")]
    assert terms == ["First audio", "First sound", "Real-time factor", "Audio"]
    assert all(any(letter.isdigit() for letter in value) for value in values)
    count = page.count()
    assert len(page.all(".chunks svg .bar")) == 2 * count
    assert page.one(".chunks .summary").text.startswith(f"{count} chunks; the first came after ")


def test_controls_change_what_is_spoken(page):
    page.one(".controls summary").click()
    page.write("Bad cab.")
    page.speak()
    usual = sum(len(part["samples"]) for part in page.heard()["sources"])
    slider = page.one(".slider input")
    assert slider.accessible_name == "speed"
    page.run("heard.sources = []")
    page.run("arguments[0].value = 0.5; arguments[0].dispatchEvent(new Event('input'))", slider)
    page.speak()
    slow = sum(len(part["samples"]) for part in page.heard()["sources"])
    assert slow == pytest.approx(2 * usual, rel=0.1)
    page.one(".reset").click()
    assert page.one(".slider input").get_attribute("value") == "1"
    page.one(".controls summary").click()


def test_the_stack_and_its_work_are_shown(page):
    page.one(".stack summary").click()
    image = page.until(lambda: page.all(".picture img"))[0]
    page.until(lambda: page.run("return arguments[0].naturalWidth", image) > 0, "the picture is not drawn")
    assert image.accessible_name.startswith("The stack of tone: ")
    page.one(".blocks summary").click()
    page.write("Bad cab.")
    page.one(".trace").click()
    page.until(lambda: page.one(".blocks .summary").text.startswith("First audio after "))
    # In one go: the drawing is made anew when the room for it changes.
    titles = page.run(
        "return [...document.querySelectorAll('.blocks svg > text')].map((one) => one.textContent)"
    )
    assert "chunks for the listener" in titles
    assert any(title.startswith("net ") for title in titles)
    assert page.one(".save a").get_attribute("download") == "tone.trace.json"


def test_two_voices_speak_side_by_side_one_at_a_time(page):
    page.one("#compare").click()
    assert [voice.get_attribute("value") for voice in page.all(".voice")] == ["tone", "quiet"]
    page.write("Bad cab.")
    page.speak(0)
    loud = max(max(part["samples"]) for part in page.heard()["sources"])
    page.run("heard.sources = []")
    page.speak(1)
    assert max(max(part["samples"]) for part in page.heard()["sources"]) < 0.7 * loud
    assert all(status.startswith("Done") for status in page.statuses())
    assert len(page.all(".chunks svg")) == 2
    page.write(LONG)
    page.speak(0, until="Speaking")
    page.all(".speak")[1].click()
    page.until(lambda: page.statuses()[0].startswith("Stopped") and page.statuses()[1].startswith("Speaking"))
    page.one("#compare").click()
    assert len(page.all(".panel")) == 1


def test_it_can_be_used_with_keys_alone(page, served):
    from selenium.webdriver.common.keys import Keys

    page.run("document.activeElement.blur()")
    names = []
    for _ in range(12):
        page.press(Keys.TAB)
        names.append(page.focused().accessible_name.strip())
    assert names[:8] == [
        "Text", "Compare two voices", "Voice", "Controls", "Speak", "Stop", "Chunks", "Blocks"
    ]  # fmt: skip
    page.one("#text").click()
    page.press_together(Keys.CONTROL, "a")
    page.press("Bad cab. " * 40)
    page.press_together(Keys.CONTROL, Keys.ENTER)
    page.until(lambda: page.statuses()[0].startswith("Speaking"))
    page.press(Keys.ESCAPE)
    page.until(lambda: page.statuses()[0].startswith("Stopped"))
    page.until(lambda: served.service.admission.at_work == 0)
    assert page.focused().accessible_name == "Text"


def test_everything_that_can_be_used_has_a_name(page):
    page.one("#compare").click()
    for details in page.all("details:not(#broken) > summary"):
        if not page.run("return arguments[0].parentElement.open", details):
            details.click()
    found = page.all("button, select, textarea, input, summary, canvas, [role=region], section")
    named = [(one.accessible_name, one.tag_name) for one in found if one.is_displayed()]
    assert len(named) > 20
    assert [tag for name, tag in named if not name.strip()] == []
    assert len(page.all(".panel > [role=status]")) == 2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_words_stand_out_from_their_ground(page, scheme):
    page.emulate(scheme)
    page.write("Bad cab.")
    page.speak()
    page.write(" ")
    page.one("#compare").click()
    page.all(".speak")[1].click()
    page.until(lambda: page.statuses()[1].startswith("There is no text"))
    found = page.run(CONTRASTS)
    assert len(found) > 20
    assert [(round(ratio, 2), words) for ratio, words in found if ratio < 4.5] == []


@pytest.mark.parametrize("width", [360, 720])
def test_it_fits_a_narrow_screen(page, width):
    page.one("#compare").click()
    page.emulate(width=width)
    page.write("Bad cab.")
    page.speak()
    assert page.run("return document.documentElement.scrollWidth") <= width


def test_who_wants_little_motion_sees_words_light_up_and_nothing_move(page):
    page.emulate(motion="reduce")
    page.run("window.cursors = 0; const fill = CanvasRenderingContext2D.prototype.fillRect;"
             "CanvasRenderingContext2D.prototype.fillRect = function (x, y, w, h) {"
             "if (this.canvas.isConnected) cursors += 1; return fill.call(this, x, y, w, h); }")  # fmt: skip
    page.write("Bad cab. A badge.")
    page.speak()
    assert page.run("return cursors") == 0
    page.emulate()
    page.speak()
    assert page.run("return cursors") > 0


# What goes wrong is said in words


def test_a_text_that_is_too_long_is_refused_in_words(page):
    page.write("bad " * 1100)
    page.speak(until="got 4,400 characters, at most 4,096 are taken")
    assert page.one(".spoken").is_displayed() is False
    assert any("400" in complaint for complaint in page.complaints())


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("delete window.AudioContext", "This browser cannot play sound"),
        ("AudioContext.prototype.resume = () => new Promise(() => {})", "The sound device does not start."),
    ],
)
def test_a_browser_without_sound_says_so(driver, served, breaks, says):
    added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": breaks})
    try:
        page = Page(driver, served.url)
        page.choose("tone")
        page.write("Bad cab.")
        page.speak(until=says)
        page.until(lambda: served.desk.in_flight == 0)
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert page.complaints() == []


def test_a_server_that_has_ended_is_named(driver, serve):
    served = serve()
    page = Page(driver, served.url)
    served.stop()
    page.write("Bad cab.")
    page.speak(until="The server cannot be reached.")
    page.complaints()


def test_a_key_is_asked_for_and_kept_in_memory_only(driver, serve, tmp_path):
    key = add_key(tmp_path / "keys", "anna")
    served = serve(keys=str(tmp_path / "keys"))
    page = Page(driver, served.url)
    assert not page.one("#desk").is_displayed()
    page.one("#key").send_keys("wrong")
    page.one("#key-form button").click()
    page.until(lambda: page.one("#problem").text == "this API key is not known here")
    page.one("#key").clear()
    page.one("#key").send_keys(key)
    page.one("#key-form button").click()
    page.until(lambda: page.one("#desk").is_displayed())
    assert not page.one("#key-form").is_displayed()
    assert not page.one("#problem").is_displayed()
    page.write("Bad cab.")
    page.speak()
    kept = page.run("return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert json.loads(kept) == [{}, {}, ""]
    driver.refresh()
    page.until(lambda: page.one("#key-form").is_displayed())
    page.complaints()


def test_an_addon_that_cannot_be_used_is_listed_with_the_reason(driver, serve, voices, tmp_path):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "addon.json").write_text("{")
    for name in ("tone", "tone-vocoder"):
        (tmp_path / name).symlink_to(voices / name)
    page = Page(driver, serve(tmp_path).url)
    page.one("#broken summary").click()
    assert page.one("#broken li").text.startswith("torn: ")
    assert page.complaints() == []
