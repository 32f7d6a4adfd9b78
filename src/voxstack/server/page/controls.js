// Show a voice's controls as sliders, and say what they are set to.

/** What the server does for every voice, whether or not the voice can by itself. */
const SPEED = { default: 1, min: 0.25, max: 4 };

let made = 0;

export class Controls {
  constructor(place, reset) {
    this.place = place;
    this.reset = reset;
    reset.addEventListener("click", () => this.show(this.known));
  }

  /** known: by name {default, min, max, choices}. */
  show(known) {
    this.known = known;
    this.inputs = {};
    this.place.replaceChildren();
    this.#add("speed", { ...SPEED, default: known.speed?.default ?? SPEED.default });
    for (const [name, control] of Object.entries(known)) if (name !== "speed") this.#add(name, control);
  }

  /** {speed, controls}: as a request has them; what was not changed is left to the server. */
  get values() {
    const controls = {};
    for (const [name, { input, first }] of Object.entries(this.inputs)) {
      if (input.value !== first && input.value !== "") {
        controls[name] = input.type === "select-one" ? input.value : Number(input.value);
      }
    }
    const { speed, ...others } = controls; // the voice's own control is narrower than what the server does
    return { speed, controls: others };
  }

  #add(name, control) {
    const row = document.createElement("div");
    row.className = "slider";
    const label = document.createElement("label");
    label.textContent = name.replaceAll("_", " ");
    const { min, max } = control;
    const names = Object.keys(control.choices ?? {});
    let input;
    if (names.length) {
      input = document.createElement("select");
      for (const choice of names) input.append(new Option(choice, choice));
      input.value = names.find((choice) => control.choices[choice] === control.default) ?? names[0];
      row.append(label, input);
    } else if (min == null || max == null) {
      input = Object.assign(document.createElement("input"), { type: "number", step: "any" });
      if (min != null) input.min = min;
      if (max != null) input.max = max;
      input.value = control.default;
      row.append(label, input);
    } else {
      input = Object.assign(document.createElement("input"), { type: "range", min, max, step: stepOf(min, max) });
      input.value = control.default;
      const output = document.createElement("output");
      const tell = () => {
        output.textContent = String(Number(Number(input.value).toFixed(3)));
      };
      input.addEventListener("input", tell);
      tell();
      row.append(label, input, output);
      output.htmlFor = `control-${made + 1}`;
    }
    made += 1;
    label.htmlFor = input.id = `control-${made}`;
    this.inputs[name] = { input, first: input.value };
    this.place.append(row);
  }
}

/** Whole numbers for wide ranges, about a hundred steps for the others. */
function stepOf(min, max) {
  if (max - min >= 100) return 1;
  return max - min > 10 ? 0.1 : 0.01;
}
