// Ask the server: which voices there are, for speech as it is made, for pictures and traces.

/** The rate of raw samples in Hz, whatever the voice's own. */
export const RATE = 24000;

let key = null; // in this variable and nowhere else

export function useKey(text) {
  key = text;
}

/** What the server, or the way to it, said instead of an answer; `status` is 0 if it said nothing. */
export class Refusal extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export async function voices() {
  return (await (await ask("v1/audio/voices")).json()).voices;
}

/** The voice's stack as an SVG picture, in text. */
export async function stackPicture(voice) {
  return (await ask(`v1/voices/${encodeURIComponent(voice)}/stack.svg`)).text();
}

/** A Chrome trace of one request: `wanted` as for `speak`. */
export async function trace(wanted, signal) {
  return (await ask(`v1/voices/${encodeURIComponent(wanted.voice)}/trace`, { wanted: body(wanted), signal })).json();
}

/**
 * Speak, and yield what comes as it comes: {samples: Float32Array} and {mark: {kind, time_ms, start, end, value}}.
 * The request is sent at once. Leaving the loop, or aborting the signal, closes the request at once.
 */
export function speak(wanted, signal) {
  const request = {
    ...body(wanted),
    model: wanted.voice,
    voice: wanted.voice,
    response_format: "pcm",
    stream_format: "sse",
    marks: ["word"],
  };
  const answer = ask("v1/audio/speech", { wanted: request, signal }); // under way before this returns
  answer.catch(() => {}); // who hears it is told
  return heard(answer);
}

async function* heard(answer) {
  for await (const event of events((await answer).body)) {
    switch (event.type) {
      case "speech.audio.delta":
        yield { samples: samplesOf(event.audio) };
        break;
      case "speech.audio.mark":
        yield { mark: event };
        break;
      case "speech.audio.done":
        return;
      case "error":
        throw new Refusal(event.error.message, 200);
    }
  }
  throw new Refusal("The audio broke off before its end.");
}

function body({ text, speed, controls }) {
  return { input: text, speed, controls };
}

async function ask(path, { wanted, signal } = {}) {
  const headers = {};
  if (key !== null) headers.authorization = `Bearer ${key}`;
  const options = { headers, signal, cache: "no-cache", credentials: "omit" };
  if (wanted !== undefined) {
    headers["content-type"] = "application/json";
    options.method = "POST";
    options.body = JSON.stringify(wanted);
  }
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached. Is it still running?");
  }
  if (!answer.ok) throw await refusalOf(answer);
  return answer;
}

async function refusalOf(answer) {
  let said = `The server answered ${answer.status} ${answer.statusText}`.trim();
  try {
    said = (await answer.json()).error.message;
  } catch {
    // it is not the voice server that answered, or it had no words
  }
  const again = answer.headers.get("retry-after");
  return new Refusal(again ? `${said} (try again in ${again} s)` : said, answer.status);
}

/** Yield the events of a stream of server-sent events whose data are JSON. */
async function* events(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await read(reader);
      if (done) return;
      waiting += decoder.decode(value, { stream: true });
      const parts = waiting.split("\n\n");
      waiting = parts.pop();
      for (const part of parts) {
        if (part.startsWith("data: ")) yield JSON.parse(part.slice(6));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The connection broke off.");
  }
}

/** Base64 of 16-bit little-endian samples → samples in [-1, 1]. */
function samplesOf(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const samples = new Float32Array(bytes.length >> 1);
  for (let place = 0; place < samples.length; place++) samples[place] = view.getInt16(place * 2, true) / 32767;
  return samples;
}
