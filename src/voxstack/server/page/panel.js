// One voice on the page: choose it, set its controls, hear it, see what it made.

import { BlocksView } from "./blocks-view.js";
import { ChunksView } from "./chunks-view.js";
import { Controls } from "./controls.js";
import { NoSound, Playing, wake } from "./player.js";
import { RATE, Refusal, speak, stackPicture } from "./server.js";
import { SoundView } from "./sound-view.js";
import { WordsView } from "./words-view.js";

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export class Panel {
  /**
   * title: what it is called; voices: as the server lists them, of which `voice` is chosen first; text: returns what is
   * to be spoken; onBegin, onVoice: called with this panel before it speaks, and when a voice is chosen.
   */
  constructor(title, voices, { voice, text, onBegin, onVoice }) {
    this.root = document.getElementById("panel").content.firstElementChild.cloneNode(true);
    this.voices = voices;
    this.text = text;
    this.onBegin = onBegin;
    this.onVoice = onVoice;
    this.speaking = null;
    this.drawn = null; // the voice whose stack is shown
    this.find("h2").textContent = title;
    this.root.setAttribute("aria-label", title);
    this.select = this.find(".voice");
    for (const { id, name } of voices) this.select.append(new Option(name, id));
    this.select.value = voice;
    this.controls = new Controls(this.find(".sliders"), this.find(".reset"));
    this.sound = new SoundView(this.find(".sound"), RATE);
    this.words = new WordsView(this.find(".spoken"));
    this.chunks = new ChunksView(this.find(".chunks"));
    this.blocks = new BlocksView(this.find(".blocks"), () => this.#wanted());
    this.#listen();
    this.#chosen();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  get voice() {
    return this.voices.find(({ id }) => id === this.select.value);
  }

  /** Speak the text from its beginning; resolves when it was heard, stopped or refused. */
  async speak() {
    const clicked_ms = performance.now();
    this.onBegin(this);
    this.stop();
    let wanted;
    try {
      wanted = this.#wanted();
    } catch (refusal) {
      this.#say(refusal.message, true);
      return;
    }
    const utterance = new Utterance(clicked_ms);
    this.speaking = utterance;
    try {
      const speech = speak(wanted, utterance.signal);
      utterance.playing = new Playing(wake(RATE), RATE, () => this.#heard(utterance));
      this.#begin(wanted.text);
      for await (const { samples, mark } of speech) {
        if (mark) this.words.onMark(mark);
        else await this.#take(utterance, samples);
      }
      this.sound.complete();
      await utterance.playing.complete();
    } catch (error) {
      if (this.speaking === utterance) this.#failed(utterance, error);
    }
  }

  /** Stop the sound, and the request at once. */
  stop() {
    const utterance = this.speaking;
    if (utterance === null) return;
    this.#say(`Stopped after ${utterance.playing.position_s.toFixed(1)} s.`);
    this.#end(utterance);
  }

  #wanted() {
    const text = this.text();
    if (!text.trim()) throw new Refusal("There is no text to speak: type some.");
    return { voice: this.select.value, text, ...this.controls.values };
  }

  #begin(text) {
    this.#say("Waiting for the first audio …");
    this.find(".stop").removeAttribute("aria-disabled");
    this.sound.reset();
    this.chunks.reset();
    this.words.begin(text);
    const spoken = this.find(".spoken");
    spoken.lang = this.voice.languages[0] ?? "";
    spoken.hidden = false;
    this.#showFigures({});
    requestAnimationFrame(() => this.#follow());
  }

  async #take(utterance, samples) {
    const came_ms = performance.now() - utterance.clicked_ms;
    const played = await utterance.playing.push(samples);
    if (played === null || this.speaking !== utterance) return;
    const chunk = { came_ms, at_ms: played.at_ms - utterance.clicked_ms, lasts_ms: played.lasts_ms };
    this.chunks.add(chunk);
    if (this.chunks.list.length === 1) this.#say("Speaking …");
    this.sound.push(samples);
    this.#showFigures({ first: this.chunks.list[0], last: chunk, playing: utterance.playing });
  }

  /** Once for each picture that the screen shows: what is heard now. */
  #follow() {
    if (this.speaking === null) return;
    const { position_s } = this.speaking.playing;
    this.sound.draw(stillness.matches ? null : position_s);
    this.words.show(this.chunks.list.length ? position_s : null);
    requestAnimationFrame(() => this.#follow());
  }

  #heard(utterance) {
    const { gaps, gaps_ms, given_s } = utterance.playing;
    const dry = gaps ? ` It ran dry ${gaps === 1 ? "once" : `${gaps} times`}, ${Math.round(gaps_ms)} ms in all.` : "";
    this.#say(`Done: ${given_s.toFixed(1)} s of audio.${dry}`);
    this.#end(utterance);
  }

  #failed(utterance, error) {
    if (this.chunks.list.length === 0) this.find(".spoken").hidden = true;
    const isKnown = error instanceof Refusal || error instanceof NoSound;
    this.#say(isKnown ? error.message : `Something broke in this page: ${error.message}`, true);
    this.#end(utterance);
    if (!isKnown) throw error;
  }

  #end(utterance) {
    this.speaking = null;
    utterance.end();
    this.find(".stop").setAttribute("aria-disabled", "true");
    this.sound.draw(null);
    this.words.show(null);
  }

  #showFigures({ first, last, playing }) {
    const shown = {
      "First audio": first && `${Math.round(first.came_ms)} ms`,
      "First sound": first && `${Math.round(first.at_ms)} ms`,
      "Real-time factor": last && (last.came_ms / 1000 / playing.given_s).toFixed(3),
      Audio: playing && `${playing.given_s.toFixed(2)} s`,
    };
    const rows = Object.entries(shown).map(([name, value]) => {
      const row = document.createElement("div");
      const [term, said] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, said.textContent] = [name, value ?? "–"];
      row.append(term, said);
      return row;
    });
    this.find(".figures").replaceChildren(...rows);
  }

  #say(words, isProblem = false) {
    const status = this.find(".status");
    status.classList.toggle("problem", isProblem);
    status.textContent = words;
  }

  #listen() {
    this.find(".speak").addEventListener("click", () => this.speak());
    this.find(".stop").addEventListener("click", () => this.stop());
    this.select.addEventListener("change", () => {
      this.stop();
      this.#chosen();
    });
    this.find(".stack").addEventListener("toggle", () => this.#showStack());
  }

  #chosen() {
    const { languages, sample_rate, licence, status } = this.voice;
    const about = [languages.join(", "), `${sample_rate / 1000} kHz`, `licence: ${licence}`];
    if (status !== "ready") about.push(status);
    this.find(".about").textContent = about.join(" · ");
    this.controls.show(this.voice.controls);
    this.blocks.reset();
    this.#showFigures({});
    this.find(".picture").replaceChildren();
    this.drawn = null;
    this.onVoice(this);
    this.#showStack();
  }

  async #showStack() {
    const { id } = this.voice;
    if (!this.find(".stack").open || this.drawn === id) return;
    const said = this.find(".stack .summary");
    try {
      const text = await stackPicture(id);
      if (this.voice.id !== id) return;
      const image = new Image();
      image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
      const blocks = Array.from(text.matchAll(/font-weight="bold">([^<]*)</g), ([, title]) => title);
      image.alt = `The stack of ${id}: ${blocks.join(", ")}`;
      image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
      this.find(".picture").replaceChildren(image);
      this.drawn = id;
      said.textContent = "";
    } catch (error) {
      said.textContent = error.message;
    }
  }
}

/** One text on its way from the server to the ear. */
class Utterance {
  #abort = new AbortController();

  constructor(clicked_ms) {
    this.clicked_ms = clicked_ms;
    this.playing = null;
  }

  get signal() {
    return this.#abort.signal;
  }

  /** Close the request, if it still runs, and be silent. */
  end() {
    this.#abort.abort();
    this.playing?.stop();
  }
}
