// Show when each chunk of an utterance came, and when it is played.

import { clearLanes, showLanes } from "./lanes.js";

export class ChunksView {
  constructor(root) {
    this.drawing = root.querySelector(".drawing");
    this.summary = root.querySelector(".summary");
    this.isDue = false;
    this.reset();
  }

  reset() {
    this.list = [];
    clearLanes(this.drawing);
    this.summary.textContent = "";
  }

  /** chunk: {came_ms, at_ms, lasts_ms}, from the click on. */
  add(chunk) {
    this.list.push(chunk);
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.isDue = false;
    const { list } = this;
    if (list.length === 0) return;
    const last = list.at(-1);
    const came = list.map(({ came_ms }, n) => ({
      from_ms: n ? list[n - 1].came_ms : 0,
      to_ms: came_ms,
      kind: n % 2 ? "other" : "",
      says: `chunk ${n + 1} came after ${Math.round(came_ms)} ms`,
    }));
    const played = list.map(({ at_ms, lasts_ms }, n) => ({
      from_ms: at_ms,
      to_ms: at_ms + lasts_ms,
      kind: n % 2 ? "other" : "",
      says: `chunk ${n + 1}: ${Math.round(lasts_ms)} ms, played from ${Math.round(at_ms)} ms on`,
    }));
    const lanes = [
      { title: "waited for", bars: came },
      { title: "played", bars: played },
    ];
    const words = this.#words();
    showLanes(this.drawing, lanes, last.at_ms + last.lasts_ms, words);
    this.summary.textContent = words;
  }

  #words() {
    const { list } = this;
    const count = list.length === 1 ? "1 chunk" : `${list.length} chunks`;
    const first = `the first came after ${Math.round(list[0].came_ms)} ms`;
    if (list.length === 1) return `${count}; ${first}.`;
    // A chunk is needed when the one before it ends, though one that comes late is played later.
    const ahead = list.slice(1).map(({ came_ms }, n) => list[n].at_ms + list[n].lasts_ms - came_ms);
    const least = Math.round(Math.min(...ahead));
    if (least >= 0) return `${count}; ${first}, each other one at least ${least} ms before it was needed.`;
    const late = ahead.filter((ms) => ms < 0).length;
    return `${count}; ${first}, ${late === 1 ? "one" : late} too late, by up to ${-least} ms.`;
  }
}
