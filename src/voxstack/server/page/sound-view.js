// Draw a waveform over its mel-spectrogram on one canvas; both grow while samples arrive.

import { BANDS, HOP, Mel, PEAKS } from "./mel.js";

/** The least that the width stands for, in s; it doubles while the audio grows beyond. */
const LEAST_S = 4;

/** Share of the height that the waveform has. */
const WAVE = 0.38;

/** From silent to loud. */
const COLOURS = [
  [0, 0, 8],
  [50, 15, 100],
  [130, 35, 130],
  [215, 70, 105],
  [252, 155, 110],
  [252, 250, 190],
];

const palette = Array.from({ length: 256 }, (_, level) => {
  const place = (level / 255) * (COLOURS.length - 1);
  const [low, high] = [COLOURS[Math.floor(place)], COLOURS[Math.ceil(place)]];
  return low.map((part, n) => part + (high[n] - part) * (place % 1));
});

export class SoundView {
  constructor(canvas, rate) {
    this.canvas = canvas;
    this.rate = rate;
    this.reset();
    new ResizeObserver(() => this.#redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  reset() {
    this.mel = new Mel(this.rate);
    this.frames = [];
    this.window_s = LEAST_S;
    this.position_s = null;
    this.isStale = true;
    this.canvas.setAttribute("aria-label", "Waveform and mel-spectrogram: nothing spoken yet");
    this.draw();
  }

  push(samples) {
    for (const frame of this.mel.push(samples)) this.frames.push(frame);
    while (this.length_s > this.window_s) this.window_s *= 2;
    this.isStale = true;
  }

  /** All of it is there: let it have the whole width. */
  complete() {
    this.window_s = Math.max(this.length_s, 0.1);
    this.isStale = true;
    this.canvas.setAttribute("aria-label", `Waveform and mel-spectrogram of ${this.length_s.toFixed(1)} seconds`);
    this.draw();
  }

  get length_s() {
    return (this.frames.length * HOP) / this.rate;
  }

  /** Draw what has changed; position_s: where the listener is, null if nowhere. */
  draw(position_s = null) {
    if (!this.isStale && position_s === this.position_s) return;
    this.position_s = position_s;
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * scale));
    const height = Math.max(1, Math.round(canvas.clientHeight * scale));
    if (this.isStale || this.image?.width !== width || this.image?.height !== height) {
      this.image = this.#painted(width, height);
      this.isStale = false;
    }
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.drawImage(this.image, 0, 0);
    if (position_s !== null) {
      pen.fillStyle = getComputedStyle(canvas).getPropertyValue("--now");
      pen.fillRect(Math.round((position_s / this.window_s) * width) - scale, 0, 2 * scale, height);
    }
  }

  #redraw() {
    this.isStale = true;
    this.draw(this.position_s);
  }

  /** Return a canvas with the waveform and the mel, without the listener's position. */
  #painted(width, height) {
    const image = Object.assign(document.createElement("canvas"), { width, height });
    const pen = image.getContext("2d");
    const top = Math.round(height * WAVE);
    const style = getComputedStyle(this.canvas);
    pen.fillStyle = style.getPropertyValue("--card");
    pen.fillRect(0, 0, width, top);
    const mel = new ImageData(width, BANDS);
    const framesPerPixel = (this.window_s * this.rate) / HOP / width;
    pen.fillStyle = style.getPropertyValue("--wave");
    for (let x = 0; x < width; x++) {
      const first = Math.floor(x * framesPerPixel);
      const last = Math.max(first + 1, Math.floor((x + 1) * framesPerPixel));
      let low = 0;
      let high = 0;
      const firstPeak = Math.floor(x * framesPerPixel * PEAKS);
      const lastPeak = Math.max(firstPeak + 1, Math.floor((x + 1) * framesPerPixel * PEAKS));
      for (let peak = firstPeak; peak < lastPeak && peak < this.frames.length * PEAKS; peak++) {
        const frame = this.frames[Math.floor(peak / PEAKS)];
        low = Math.min(low, frame.lows[peak % PEAKS]);
        high = Math.max(high, frame.highs[peak % PEAKS]);
      }
      const y = Math.round((top / 2) * (1 - high));
      if (first < this.frames.length) pen.fillRect(x, y, 1, Math.max(1, Math.round((top / 2) * (1 - low)) - y));
      this.#paintColumn(mel, x, first, last);
    }
    const small = Object.assign(document.createElement("canvas"), { width, height: BANDS });
    small.getContext("2d").putImageData(mel, 0, 0);
    pen.drawImage(small, 0, top, width, height - top);
    return image;
  }

  #paintColumn(mel, x, first, last) {
    for (let band = 0; band < BANDS; band++) {
      let level = 0;
      for (let place = first; place < last && place < this.frames.length; place++) {
        level = Math.max(level, this.frames[place].levels[band]);
      }
      const [red, green, blue] = palette[level];
      const at = ((BANDS - 1 - band) * mel.width + x) * 4;
      mel.data[at] = red;
      mel.data[at + 1] = green;
      mel.data[at + 2] = blue;
      mel.data[at + 3] = 255;
    }
  }
}
