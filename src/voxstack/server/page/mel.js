// Turn samples into a mel-spectrogram while they arrive.

const SIZE = 1024; // samples of a window
export const HOP = 256; // samples from one frame to the next
export const BANDS = 80;
export const PEAKS = 4; // of the waveform in each frame

/** Decibels that are drawn darkest and brightest. */
const FLOOR_DB = -60;
const CEILING_DB = 20;

const window_ = Float32Array.from({ length: SIZE }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / SIZE));
const cosines = Float64Array.from({ length: SIZE / 2 }, (_, n) => Math.cos((2 * Math.PI * n) / SIZE));
const sines = Float64Array.from({ length: SIZE / 2 }, (_, n) => -Math.sin((2 * Math.PI * n) / SIZE));
const reversed = Uint16Array.from({ length: SIZE }, (_, n) => {
  let bits = 0;
  for (let bit = 1, mirror = SIZE >> 1; mirror > 0; bit <<= 1, mirror >>= 1) if (n & bit) bits |= mirror;
  return bits;
});

export class Mel {
  constructor(rate) {
    this.bands = filters(rate);
    this.waiting = new Float32Array(SIZE - HOP); // silence before the first sample
    this.real = new Float64Array(SIZE);
    this.imaginary = new Float64Array(SIZE);
  }

  /** Take samples; return the new frames: {levels: Uint8Array of BANDS, lows, highs: of the hop's samples, PEAKS each}. */
  push(samples) {
    const all = new Float32Array(this.waiting.length + samples.length);
    all.set(this.waiting);
    all.set(samples, this.waiting.length);
    const frames = [];
    let start = 0;
    for (; start + SIZE <= all.length; start += HOP) {
      const lows = [];
      const highs = [];
      for (let place = start + SIZE - HOP; place < start + SIZE; place += HOP / PEAKS) {
        const part = all.subarray(place, place + HOP / PEAKS);
        lows.push(Math.min(...part));
        highs.push(Math.max(...part));
      }
      frames.push({ levels: this.#levels(all, start), lows, highs });
    }
    this.waiting = all.slice(start);
    return frames;
  }

  #levels(all, start) {
    const { real, imaginary } = this;
    for (let n = 0; n < SIZE; n++) {
      real[reversed[n]] = all[start + n] * window_[n];
      imaginary[n] = 0;
    }
    transform(real, imaginary);
    const levels = new Uint8Array(BANDS);
    for (let band = 0; band < BANDS; band++) {
      const { first, weights } = this.bands[band];
      let power = 0;
      for (let n = 0; n < weights.length; n++) {
        power += weights[n] * (real[first + n] ** 2 + imaginary[first + n] ** 2);
      }
      const db = 10 * Math.log10(power + 1e-12);
      levels[band] = Math.max(0, Math.min(255, (255 * (db - FLOOR_DB)) / (CEILING_DB - FLOOR_DB)));
    }
    return levels;
  }
}

/** Fourier transform in place, of numbers in bit-reversed order. */
function transform(real, imaginary) {
  for (let half = 1; half < SIZE; half *= 2) {
    const step = SIZE / (2 * half);
    for (let block = 0; block < SIZE; block += 2 * half) {
      for (let n = 0; n < half; n++) {
        const even = block + n;
        const odd = even + half;
        const cosine = cosines[n * step];
        const sine = sines[n * step];
        const re = real[odd] * cosine - imaginary[odd] * sine;
        const im = real[odd] * sine + imaginary[odd] * cosine;
        real[odd] = real[even] - re;
        imaginary[odd] = imaginary[even] - im;
        real[even] += re;
        imaginary[even] += im;
      }
    }
  }
}

/** Triangles on the mel scale, from 0 Hz to half the rate; each adds up to 1. */
function filters(rate) {
  const toMel = (hz) => 2595 * Math.log10(1 + hz / 700);
  const toHz = (mel) => 700 * (10 ** (mel / 2595) - 1);
  const top = toMel(rate / 2);
  const edges = Array.from({ length: BANDS + 2 }, (_, n) => (toHz((top * n) / (BANDS + 1)) * SIZE) / rate);
  return Array.from({ length: BANDS }, (_, band) => {
    const [left, middle, right] = edges.slice(band, band + 3);
    // Low bands are narrower than a bin: at least the one nearest to their middle counts.
    const first = Math.min(Math.ceil(left), Math.round(middle));
    const last = Math.min(Math.max(Math.floor(right), Math.round(middle)), SIZE / 2);
    const weights = [];
    for (let bin = first; bin <= last; bin++) {
      const slope = bin <= middle ? (bin - left) / (middle - left) : (right - bin) / (right - middle);
      weights.push(Math.max(slope, bin === Math.round(middle) ? 0.1 : 0));
    }
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}
