// Play samples while they arrive: each chunk begins on the very sample on which the last one ends.
//
// Scheduled buffers and no AudioWorklet: a worklet needs a secure context, and this page is often opened at a plain
// http:// address of the local network. The context runs at the samples' own rate, so nothing is resampled at a join.

/**
 * How long a first chunk is held, in s, and one that comes too late: voices make chunks just in time for who plays the
 * first at once, and the way to here takes some of that time.
 */
const LEAD_S = 0.04;

/** How long the fade is when playing is stopped, in s: none would click. */
const FADE_S = 0.01;

/** How long the audio device is kept awake after the last sound, in ms. */
const IDLE_MS = 20000;

/** How long the audio device may take to wake, in ms. */
const WAKING_MS = 5000;

/** Nothing can be heard here. */
export class NoSound extends Error {}

let context = null;
let sleeping = 0;

/** Find the audio device, which may take half a second; it sleeps until it is woken. A browser may warn that it does. */
export function prepare(rate) {
  if (context !== null) return;
  const options = { latencyHint: "interactive" };
  if (!window.AudioContext) throw new NoSound("This browser cannot play sound that is still being made.");
  try {
    context = new AudioContext({ ...options, sampleRate: rate });
  } catch {
    context = new AudioContext(options); // it knows its device's rate only, and resamples
  }
  context.suspend();
}

/** Wake the audio device; browsers allow it in answer to a click or key only. */
export function wake(rate) {
  prepare(rate);
  clearTimeout(sleeping);
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new NoSound("The sound device does not start. Is there one?")), WAKING_MS);
  });
  const awake = Promise.race([context.resume(), late]);
  awake.catch(() => {}); // whoever plays is told
  return awake;
}

/** One utterance that is played while it arrives. */
export class Playing {
  /** awake: what `wake` returned; rate: of the samples, in Hz; onEnd: called when all was heard, not when stopped. */
  constructor(awake, rate, onEnd) {
    this.awake = awake;
    this.rate = rate;
    this.onEnd = onEnd;
    this.gain = null;
    this.parts = []; // {at, from, lasts, source}: context time, s of the audio, s
    this.next = 0; // context time at which the next chunk begins
    this.given_s = 0;
    this.gaps = 0;
    this.gaps_ms = 0;
    this.isComplete = false;
    this.isStopped = false;
  }

  /** Schedule a chunk; return {at_ms, lasts_ms}: when it is played, on performance.now()'s clock. */
  async push(samples) {
    await this.awake;
    if (this.isStopped || samples.length === 0) return null;
    if (this.gain === null) {
      this.gain = context.createGain();
      this.gain.connect(context.destination);
    }
    const now = context.currentTime;
    if (this.next < now) {
      const at = now + LEAD_S;
      if (this.parts.length > 0) {
        this.gaps += 1;
        this.gaps_ms += (at - this.next) * 1000;
      }
      this.next = Math.ceil(at * context.sampleRate) / context.sampleRate;
    }
    const buffer = context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.gain);
    source.start(this.next);
    const part = { at: this.next, from: this.given_s, lasts: buffer.duration, source };
    source.onended = () => this.#ended(part);
    this.parts.push(part);
    this.next += buffer.duration;
    this.given_s += buffer.duration;
    return { at_ms: performance.now() + (part.at - now) * 1000, lasts_ms: buffer.duration * 1000 };
  }

  /** No more chunks come. */
  async complete() {
    await this.awake;
    this.isComplete = true;
    if (this.parts.length === 0 || this.parts.at(-1).isOver) this.#end();
  }

  /** Be silent now. */
  stop() {
    if (this.isStopped) return;
    this.isStopped = true;
    if (this.gain === null) return;
    const now = context.currentTime;
    this.gain.gain.setValueAtTime(1, now);
    this.gain.gain.linearRampToValueAtTime(0, now + FADE_S);
    for (const part of this.parts) if (!part.isOver) part.source.stop(now + FADE_S);
    rest();
  }

  /** How many seconds of the audio have been heard. */
  get position_s() {
    if (this.parts.length === 0) return 0;
    const now = context.currentTime - (context.outputLatency || 0);
    let heard = 0;
    for (const part of this.parts) {
      if (part.at > now) break;
      heard = part.from + Math.min(now - part.at, part.lasts);
    }
    return heard;
  }

  #ended(part) {
    part.isOver = true;
    part.source = null; // its samples can go
    if (this.isComplete && part === this.parts.at(-1)) this.#end();
  }

  #end() {
    if (this.isStopped) return;
    this.isStopped = true;
    rest();
    this.onEnd();
  }
}

function rest() {
  clearTimeout(sleeping);
  sleeping = setTimeout(() => context.suspend(), IDLE_MS);
}
