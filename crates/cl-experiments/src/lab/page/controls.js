// What can be changed with a slider or a list, and how it stands in an experiment file.

import { read, shortNumber } from "./charts.js";

const counts = (...values) => values;
/** Values from `from` to `to`, evenly spaced, or by equal factors. */
const evenly = (from, to, n) => Array.from({ length: n }, (_, i) => Number((from + (i * (to - from)) / (n - 1)).toPrecision(6)));
const byFactors = (from, to, n) => Array.from({ length: n }, (_, i) => Number((from * (to / from) ** (i / (n - 1))).toPrecision(3)));

const RELU = "model.encoder.symmetric_relu";
const BIAS = `${RELU}.bias`;

/** `math` is MathML; `values` are where the slider stops, any other value can be typed. */
const GROUPS = [
  { legend: "Data", knobs: [
    { key: "data.sparse_coding.code_dim", label: "features", math: "<mi>d</mi>", values: counts(4, 8, 12, 16, 24, 32, 48, 64, 96, 128) },
    { key: "data.sparse_coding.input_dim", label: "coordinates", math: "<msub><mi>d</mi><mn>1</mn></msub>", values: counts(16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024) },
    { key: "data.sparse_coding.noise_std", label: "dense noise", math: "<msub><mi>σ</mi><mi>ξ</mi></msub>", values: evenly(0, 0.6, 61) },
  ] },
  { legend: "Views", knobs: [
    { kind: "mask" },
    { key: "keep_probability", of: "mask", label: "kept in the first view", math: "<mi>p</mi>", values: evenly(0.05, 0.95, 19) },
    { key: "masked_fraction", of: "mask", label: "coordinates that are masked", math: "<mi>s</mi>", values: evenly(0, 1, 21) },
  ] },
  { legend: "Encoder", knobs: [
    { key: `${RELU}.num_neurons`, label: "neurons", math: "<mi>m</mi>", values: counts(8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512) },
    { kind: "bias" },
    { key: `${BIAS}.scheduled.initial_ratio`, label: "first threshold", math: "<mi>c</mi>", values: evenly(0, 2, 21) },
    { key: `${BIAS}.scheduled.growth`, label: "growth of thresholds", math: "<mi>g</mi>", values: [0, ...byFactors(0.001, 0.2, 24)] },
    { key: `${BIAS}.scheduled.cap_ratio`, label: "cap of thresholds", math: "<mi>C</mi>", values: evenly(0.5, 3, 26) },
  ] },
  { legend: "Objective", knobs: [
    { kind: "objective" },
    { key: "temperature", of: "objective", label: "temperature", math: "<mi>τ</mi>", values: byFactors(0.02, 4, 47) },
  ] },
  { legend: "Optimization", knobs: [
    { key: "rate", of: "rate", label: "learning rate", math: "<mi>η</mi>", values: byFactors(0.001, 10, 49) },
    { key: "decay", of: "decay", label: "weight decay", math: "<mi>λ</mi>", values: [0, ...byFactors(1e-5, 0.1, 41)] },
    { key: "optimization.batch_size", label: "pairs in a batch", math: "<mi>B</mi>", values: counts(16, 32, 64, 96, 128, 192, 256, 320, 512, 1024) },
    { key: "optimization.steps", label: "steps", math: "<mi>T</mi>", multipleOf: "optimization.snapshot_every", values: counts(100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 8000, 12000) },
    { kind: "seed" },
  ] },
];

const MASKS = { none: "none: both views are the observation", complementary_mask: "complementary: what one drops, the other keeps", independent_masks: "independent" };
const BIASES = { zero: "zero", trained: "trained", scheduled: "scheduled, as in the paper" };
const NEW_MASK = { keep_probability: 0.5, masked_fraction: 1.0, rescaling: "unbiased" };
const NEW_BIAS = { zero: '"zero"', trained: "{ trained = { initial = 0.0 } }", scheduled: "{ scheduled = { start_step = 150, initial_ratio = 0.6, growth = 0.02, cap_ratio = 1.7 } }" };

/** The name of a part that is given as `name` or `{ name: { … } }`. */
const nameOf = (part) => (typeof part === "string" ? part : part && Object.keys(part)[0]);

/** Plain data in the notation of an experiment file. */
export function toml(value) {
  if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
  if (value && typeof value === "object") return `{ ${Object.entries(value).map(([key, v]) => `${/^[\w-]+$/.test(key) ? key : JSON.stringify(key)} = ${toml(v)}`).join(", ")} }`;
  return JSON.stringify(value);
}

/** Where a knob's value stands in a specification; `undefined` where it has none there. */
function keyIn(knob, spec) {
  if (knob.of === "mask") {
    const mask = nameOf(spec.views?.transform?.[0]);
    return mask && MASKS[mask] ? `views.transform.0.${mask}.${knob.key}` : undefined;
  }
  if (knob.of === "objective") return typeof spec.objective === "object" ? `objective.${nameOf(spec.objective)}.${knob.key}` : undefined;
  if (knob.of === "decay") return typeof spec.optimization?.optimizer === "object" ? `optimization.optimizer.${nameOf(spec.optimization.optimizer)}.weight_decay` : undefined;
  if (knob.of === "rate") {
    const schedule = nameOf(spec.optimization?.learning_rate);
    const names = { constant: "rate", exponential_decay: "first", warmup_cosine: "peak" };
    return schedule && `optimization.learning_rate.${schedule}.${names[schedule]}`;
  }
  return knob.key;
}

/** Draws the controls, and calls `change(pairs, isFinal)` with keys and values in the notation of TOML. */
export class Controls {
  constructor(parent, inventory, { change, objective, seed }) {
    this.knobs = [];
    this.change = change;
    for (const { legend, knobs } of GROUPS) {
      const group = document.createElement("fieldset");
      group.innerHTML = "<legend></legend>";
      group.firstChild.textContent = legend;
      for (const knob of knobs) {
        if (knob.kind === "mask") this.list(group, "mask", "Mask", MASKS, (name) => this.setMask(name));
        else if (knob.kind === "bias") this.list(group, "bias", "Thresholds", BIASES, (name) => change([[BIAS, NEW_BIAS[name]]], true));
        else if (knob.kind === "objective") {
          const names = Object.fromEntries(Object.keys(inventory.objectives).map((name) => [name, name.replaceAll("_", " ")]));
          this.list(group, "objective", "Loss", names, objective);
        } else if (knob.kind === "seed") this.number(group, seed);
        else this.slider(group, knob);
      }
      parent.append(group);
    }
  }

  list(group, id, label, names, chosen) {
    const row = document.createElement("div");
    row.innerHTML = `<label for="knob-${id}"></label><select id="knob-${id}"></select>`;
    row.firstChild.textContent = label;
    const select = row.lastChild;
    for (const [name, text] of Object.entries(names)) select.append(new Option(text, name));
    select.addEventListener("change", () => chosen(select.value));
    group.append(row);
    this.knobs.push({ show: (spec) => {
      const name = { mask: () => nameOf(spec.views?.transform?.[0]) ?? "none", bias: () => nameOf(read(spec, BIAS)), objective: () => nameOf(spec.objective) }[id]();
      row.hidden = name === undefined || (id === "mask" && !spec.data?.sparse_coding);
      if (!row.hidden && ![...select.options].some((o) => o.value === name)) select.append(new Option(name, name));
      if (!row.hidden) select.value = name;
    } });
  }

  number(group, chosen) {
    const row = document.createElement("div");
    row.innerHTML = `<label for="knob-seed">Seed</label><input id="knob-seed" type="text" inputmode="numeric">`;
    const input = row.lastChild;
    input.addEventListener("change", () => chosen(input.value));
    group.append(row);
    this.knobs.push({ show: (_, state, seed) => { if (document.activeElement !== input) input.value = seed; } });
  }

  slider(group, knob) {
    const id = `knob-${knob.key.replaceAll(".", "-")}`;
    const row = document.createElement("div");
    row.className = "knob";
    row.innerHTML = `<label for="${id}"></label><input type="range" id="${id}" min="0" step="1"><input type="text" inputmode="decimal">`;
    const [label, range, typed] = row.children;
    label.innerHTML = `<math display="inline">${knob.math}</math> `;
    label.append(knob.label);
    typed.setAttribute("aria-label", `${knob.label}, as a number`);
    typed.name = knob.key;
    let key;
    let stops = [];
    let others = [];
    const moved = (isFinal) => {
      range.setAttribute("aria-valuetext", stops[range.value]);
      typed.value = shortNumber(stops[range.value]);
      this.change([[key, String(stops[range.value])]], isFinal);
    };
    range.addEventListener("input", () => moved(false));
    range.addEventListener("change", () => moved(true));
    typed.addEventListener("change", () => this.change([[key, typed.value.trim()]], true));
    group.append(row);
    this.knobs.push({ show: (spec, state) => {
      key = keyIn(knob, spec);
      const value = key && read(spec, key);
      row.hidden = typeof value !== "number";
      if (row.hidden) return;
      row.classList.toggle("changed", state.set.has(key));
      // A value between two stops is a stop of its own, and stays one: stops do not move under a finger.
      const every = knob.multipleOf ? read(spec, knob.multipleOf) : undefined;
      if (!knob.values.includes(value) && !others.includes(value)) others = [...others, value];
      stops = [...knob.values.filter((stop) => stop === value || !every || stop % every === 0), ...others].sort((a, b) => a - b);
      range.max = stops.length - 1;
      // Where the slider is now may be ahead of the run that has just begun.
      const asked = state.set.get(key);
      if (asked === undefined || Number(asked) === value) range.value = stops.indexOf(value);
      if (document.activeElement !== typed) typed.value = String(Number(value.toPrecision(5)));
      typed.title = String(value);
      range.setAttribute("aria-valuetext", value);
    } });
  }

  setMask(name) {
    const before = this.spec.views?.transform?.[0];
    const values = before ? Object.values(before)[0] : NEW_MASK;
    this.change([["views.transform", name === "none" ? "[]" : toml([{ [name]: values }])]], true);
  }

  /** Shows a specification as it is. */
  show(spec, state, seed) {
    this.spec = spec;
    for (const knob of this.knobs) knob.show(spec, state, seed);
    for (const group of document.querySelectorAll("#knobs fieldset")) group.hidden = [...group.children].slice(1).every((row) => row.hidden);
  }
}
