// Begin: ask which voices there are, show a panel for one or two of them, and listen to the keyboard.

import { Panel } from "./panel.js";
import { prepare } from "./player.js";
import { RATE, useKey, voices } from "./server.js";

const SAMPLES = {
  de: "Guten Tag. Diese Stimme spricht, noch während sie entsteht.",
  en: "Hello there. This is a voice that speaks while it is still being made.",
  es: "Hola. Esta es una voz que habla mientras todavía se está creando.",
  fr: "Bonjour. Cette voix parle pendant qu'elle est encore en train de naître.",
  zh: "你好。这个声音一边生成，一边说话。",
};

const element = (id) => document.getElementById(id);
const text = element("text");
const panels = [];
let current = null; // the panel that Ctrl+Enter speaks with
let sample = "";

async function begin() {
  const problem = element("problem");
  try {
    const listed = await voices();
    const usable = listed.filter(({ status }) => status !== "broken");
    showBroken(listed.filter(({ status }) => status === "broken"));
    problem.hidden = usable.length > 0;
    problem.textContent = "This server has no voice that can speak.";
    element("key-form").hidden = true;
    if (usable.length === 0) return;
    const isAnew = !element("desk").hidden;
    element("desk").hidden = false;
    if (!isAnew) open(usable);
  } catch (error) {
    const asksForKey = error.status === 401;
    const form = element("key-form");
    problem.textContent = error.message;
    problem.hidden = asksForKey && form.hidden;
    if (asksForKey) {
      form.hidden = false;
      element("key").select();
    }
  }
}

function open(usable) {
  add("Voice A", usable, usable[0].id);
  const compare = element("compare");
  compare.addEventListener("click", () => {
    const isTwo = panels.length === 2;
    if (isTwo) {
      const gone = panels.pop();
      gone.stop();
      gone.root.remove();
      current = panels[0];
    } else {
      const { id: first, languages } = panels[0].voice;
      const others = usable.filter(({ id }) => id !== first);
      const other = others.find((voice) => voice.languages[0] === languages[0]) ?? others[0] ?? usable[0];
      add("Voice B", usable, other.id);
    }
    compare.setAttribute("aria-expanded", String(!isTwo));
    compare.textContent = isTwo ? "Compare two voices" : "Show one voice";
    element("panels").classList.toggle("two", !isTwo);
  });
  text.addEventListener("input", count);
  setTimeout(() => window.AudioContext && prepare(RATE)); // the page is shown first
}

function add(title, usable, voice) {
  const panel = new Panel(title, usable, {
    voice,
    text: () => text.value,
    onBegin: (speaking) => {
      current = speaking;
      for (const other of panels) if (other !== speaking) other.stop();
    },
    onVoice: (chosen) => {
      if (panels.length === 0 || panels[0] === chosen) offerSample(chosen.voice.languages[0] ?? "en");
    },
  });
  panel.root.addEventListener("focusin", () => {
    current = panel;
  });
  panels.push(panel);
  element("panels").append(panel.root);
  panel.sound.draw();
  current ??= panel;
}

/** Put a sentence of the voice's language there, unless somebody has written something else. */
function offerSample(language) {
  text.lang = language;
  if (text.value !== sample) return;
  sample = SAMPLES[language.split("-")[0]] ?? SAMPLES.en;
  text.value = sample;
  count();
}

function count() {
  const letters = Array.from(text.value).length;
  element("count").textContent = letters === 1 ? "1 character" : `${letters} characters`;
}

function showBroken(broken) {
  element("broken").hidden = broken.length === 0;
  const rows = broken.map(({ name, why }) => Object.assign(document.createElement("li"), { textContent: `${name}: ${why}` }));
  element("broken").querySelector("ul").replaceChildren(...rows);
}

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(element("key").value.trim());
  begin().then(() => {
    if (!element("desk").hidden) text.focus();
  });
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && current) {
    event.preventDefault();
    current.speak();
  } else if (event.key === "Escape") {
    for (const panel of panels) panel.stop();
  }
});

begin();
