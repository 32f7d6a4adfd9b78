// Draw bars in lanes over a time axis, as SVG.

const NAMESPACE = "http://www.w3.org/2000/svg";

const LANE = 18;
const GAP = 6;
const TITLE = 15;
const AXIS = 20;

const observers = new WeakMap();

/**
 * Show lanes in a place: [{title, bars: [{from_ms, to_ms, kind, says}]}], with what each bar says as its tooltip.
 * `label` says in words what is drawn.
 */
export function showLanes(place, lanes, until_ms, label) {
  const draw = () => place.replaceChildren(picture(lanes, until_ms, label, Math.max(place.clientWidth, 1)));
  observers.get(place)?.disconnect();
  const observer = new ResizeObserver(draw); // letters keep their size, whatever the width
  observers.set(place, observer);
  draw();
  observer.observe(place);
}

/** Take the lanes away. */
export function clearLanes(place) {
  observers.get(place)?.disconnect();
  place.replaceChildren();
}

function picture(lanes, until_ms, label, width) {
  const row = TITLE + LANE + GAP;
  const height = lanes.length * row + AXIS;
  const drawn = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const across = (ms) => (ms / Math.max(until_ms, 1e-6)) * width;
  for (const ms of ticks(until_ms, width / 90)) {
    const x = across(ms);
    drawn.append(element("line", { class: "line", x1: x, x2: x, y1: 0, y2: height - AXIS + 4 }));
    const anchor = x < 20 ? "start" : x > width - 40 ? "end" : "middle";
    drawn.append(element("text", { class: "tick", x, y: height - 4, "text-anchor": anchor }, `${ms} ms`));
  }
  lanes.forEach(({ title, bars }, number) => {
    const y = number * row;
    drawn.append(element("text", { x: 0, y: y + TITLE - 3 }, title));
    for (const { from_ms, to_ms, kind, says } of bars) {
      const x = across(from_ms);
      const wide = Math.max(across(to_ms) - x, 1);
      const bar = element("rect", { class: `bar ${kind}`, x, y: y + TITLE, width: wide, height: LANE });
      bar.append(element("title", {}, says));
      drawn.append(bar);
    }
  });
  return drawn;
}

function element(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, typeof value === "number" ? Math.round(value * 100) / 100 : value);
  }
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Return round numbers from 0 on, at most about so many. */
function ticks(until, most) {
  const rough = Math.max(until, 1e-3) / Math.min(Math.max(most, 2), 8);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  return Array.from({ length: Math.floor(until / step) + 1 }, (_, n) => Number((n * step).toPrecision(6)));
}
