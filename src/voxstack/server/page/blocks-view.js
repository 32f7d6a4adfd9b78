// Show when each block and net of a voice worked for a text.

import { clearLanes, showLanes } from "./lanes.js";
import { trace } from "./server.js";

export class BlocksView {
  /** wanted: returns the request that is to be traced. */
  constructor(root, wanted) {
    this.wanted = wanted;
    this.button = root.querySelector(".trace");
    this.summary = root.querySelector(".summary");
    this.drawing = root.querySelector(".drawing");
    this.save = root.querySelector(".save");
    this.button.addEventListener("click", () => this.#trace());
    this.reset();
  }

  reset() {
    this.abort?.abort();
    this.abort = null;
    this.summary.textContent = "";
    clearLanes(this.drawing);
    this.save.replaceChildren();
  }

  async #trace() {
    this.reset();
    const abort = (this.abort = new AbortController());
    try {
      const wanted = this.wanted();
      this.summary.textContent = "Speaking it unheard …";
      this.#show(await trace(wanted, abort.signal), wanted.voice);
    } catch (error) {
      if (this.abort === abort) this.summary.textContent = error.message;
    }
  }

  #show(traced, voice) {
    const { first_audio_ms, wall_ms, audio_s } = traced.otherData;
    const lanes = lanesOf(traced.traceEvents);
    const until_ms = Math.max(...lanes.flatMap(({ bars }) => bars.map(({ to_ms }) => to_ms)));
    const words = `First audio after ${Math.round(first_audio_ms)} ms, ${audio_s.toFixed(1)} s of audio in ${Math.round(wall_ms)} ms.`;
    showLanes(this.drawing, lanes, until_ms, `When blocks and nets worked. ${words}`);
    this.summary.textContent = words;
    const link = document.createElement("a");
    link.download = `${voice}.trace.json`;
    link.href = URL.createObjectURL(new Blob([JSON.stringify(traced)], { type: "application/json" }));
    link.textContent = "Save the trace";
    this.save.replaceChildren(link, ": Perfetto and a browser's own trace viewer open it.");
  }
}

/** The lanes of a Chrome trace that have bars, in its order. */
function lanesOf(events) {
  const lanes = new Map();
  for (const { ph, name, tid, args } of events) {
    if (ph === "M" && name === "thread_name") lanes.set(tid, { title: args.name, bars: [] });
  }
  for (const { ph, name, tid, ts, dur } of events) {
    if (ph !== "X") continue;
    const lane = lanes.get(tid);
    const [from_ms, to_ms] = [ts / 1000, (ts + dur) / 1000];
    const kind = lane.title.startsWith("net ") ? "net" : lane.bars.length % 2 ? "other" : "";
    lane.bars.push({ from_ms, to_ms, kind, says: `${name}: ${(dur / 1000).toFixed(2)} ms, from ${from_ms.toFixed(1)} ms on` });
  }
  return Array.from(lanes.values()).filter(({ bars }) => bars.length);
}
