// Views of images, before anything is trained.

import { toml } from "./controls.js";

const byId = (id) => document.getElementById(id);

/** What a transform is at first, how far its sliders go. */
const TRANSFORMS = {
  random_resized_crop: { label: "Crop and resize", values: { scale: [0.2, 1.0], ratio: [0.75, 1.3333333333333333] }, ranges: { scale: [0.02, 1], ratio: [0.3, 3] } },
  horizontal_flip: { label: "Flip", values: { probability: 0.5 } },
  color_jitter: { label: "Colour jitter", values: { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }, ranges: { hue: [0, 0.5] } },
  grayscale: { label: "Greyscale", values: { probability: 0.2 } },
  gaussian_blur: { label: "Blur", values: { probability: 0.5, kernel_size: 3, sigma: [0.1, 2.0] }, ranges: { sigma: [0.1, 5], kernel_size: [3, 9] }, steps: { kernel_size: 2 } },
  random_mask: { label: "Mask", values: { keep_probability: 0.5, pairing: "complementary" }, ranges: { keep_probability: [0.05, 0.95] } },
};

let inventory;
let from = null;
let seed = null;
let transforms = null;
let request = null;
let timer = 0;
let shown = null;

export function prepare(given) {
  inventory = given;
  const preset = byId("image-preset");
  for (const claim of inventory.claims) {
    for (const point of claim.points.filter((p) => p.kind === "images")) preset.append(new Option(`${claim.name} · ${point.name}`, `${claim.name}/${point.name}`));
  }
  preset.addEventListener("change", () => { from = preset.value; transforms = null; changed(true); });
  byId("image-seed").addEventListener("change", ({ target }) => { seed = target.value.trim() === "" ? null : target.value.trim(); changed(true); });
}

export function enter() {
  const query = new URLSearchParams(location.search);
  const generated = [...byId("image-preset").options].map((o) => o.value);
  // Generated images need no download.
  from = query.get("from") ?? generated.find((v) => v === "images-shapes/crop-flip-jitter") ?? generated[0] ?? null;
  seed = query.get("seed");
  transforms = query.get("views.transform");
  byId("image-preset").value = from;
  byId("image-seed").value = seed ?? "";
  draw();
}

export function leave() {
  request?.abort();
}

function settings() {
  const [claim, ...point] = from.split("/");
  return { claim, point: point.join("/"), seed: seed ?? undefined, set: transforms === null ? [] : [["views.transform", transforms]] };
}

function changed(isFinal) {
  const query = new URLSearchParams({ from });
  if (seed !== null) query.set("seed", seed);
  if (transforms !== null) query.set("views.transform", transforms);
  if (isFinal) history.pushState(null, "", `/images?${query}`);
  clearTimeout(timer);
  timer = setTimeout(draw, 60);
}

async function draw() {
  if (!from) return void (byId("sheet-says").textContent = "No experiment here trains on images.");
  request?.abort();
  const own = (request = new AbortController());
  const ask = (path) => fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(settings()), signal: own.signal });
  try {
    byId("sheet-says").textContent = "drawing views";
    const checked = await (await ask("/api/check")).json();
    if (checked.error) return wrong(checked.error);
    sliders(checked.spec.views?.transform ?? []);
    byId("image-seed").placeholder = checked.seed;
    const answer = await ask("/api/views");
    if (!answer.ok) return wrong((await answer.json()).error);
    const address = URL.createObjectURL(await answer.blob());
    if (own !== request) return URL.revokeObjectURL(address);
    const sheet = byId("sheet");
    if (shown) URL.revokeObjectURL(shown);
    shown = sheet.src = address;
    const names = (checked.spec.views?.transform ?? []).map((t) => Object.keys(t)[0].replaceAll("_", " ")).join(", ");
    sheet.alt = `Images of ${from} with pairs of views; transforms: ${names || "none"}`;
    byId("sheet-says").textContent = `views with ${names || "no transform"}`;
    wrong("");
  } catch (error) {
    if (error.name !== "AbortError") wrong(`The laboratory does not answer: ${error.message}`);
  }
}

function wrong(message) {
  byId("image-wrong").textContent = message;
  if (message) byId("sheet-says").textContent = "";
}

/** Sliders for the transforms there are, and a box for each that can be. They are made anew only when their list changes. */
function sliders(list) {
  const place = byId("transforms");
  const names = list.map((t) => Object.keys(t)[0]);
  const all = [...names, ...Object.keys(TRANSFORMS).filter((name) => !names.includes(name))];
  const values = JSON.stringify([from, list]);
  // What a slider has just sent is what it shows.
  if (sliders.values === values) return;
  sliders.values = values;
  const focused = document.activeElement?.id;
  const current = structuredClone(list);
  const send = (isFinal) => {
    transforms = toml(current);
    sliders.values = JSON.stringify([from, current]);
    changed(isFinal);
  };
  place.replaceChildren(...all.map((name, place) => {
    const group = document.createElement("fieldset");
    group.innerHTML = `<legend><label><input type="checkbox" id="t-${name}-${place}"> <span></span></label></legend>`;
    group.querySelector("span").textContent = TRANSFORMS[name]?.label ?? name;
    const box = group.querySelector("input");
    const index = names.indexOf(name) >= 0 ? place : -1;
    box.checked = index >= 0;
    box.addEventListener("change", () => {
      if (box.checked) current.push({ [name]: structuredClone(TRANSFORMS[name].values) });
      else current.splice(index, 1);
      send(true);
      sliders.values = null;
    });
    if (index < 0) return group;
    const values = current[index][name];
    for (const [key, value] of Object.entries(values)) {
      const range = TRANSFORMS[name]?.ranges?.[key] ?? [0, 1];
      const step = TRANSFORMS[name]?.steps?.[key] ?? 0.01;
      if (typeof value === "number") group.append(slider(`${name}-${key}`, key, value, range, step, (v, f) => { values[key] = v; send(f); }));
      else if (Array.isArray(value)) value.forEach((v, i) => group.append(slider(`${name}-${key}-${i}`, `${key}, ${["least", "most"][i] ?? i}`, v, range, step, (v, f) => { value[i] = v; send(f); })));
      else if (key === "pairing") {
        const row = document.createElement("div");
        row.innerHTML = `<label for="t-pairing">pairing</label><select id="t-pairing"><option>complementary</option><option>independent</option></select>`;
        row.lastChild.value = value;
        row.lastChild.addEventListener("change", () => { values[key] = row.lastChild.value; send(true); });
        group.append(row);
      }
    }
    return group;
  }));
  // The same control keeps the focus.
  if (focused) byId(focused)?.focus();
}

function slider(id, label, value, [min, max], step, moved) {
  const row = document.createElement("div");
  row.className = "knob";
  row.innerHTML = `<label for="t-${id}"></label><input type="range" id="t-${id}"><output></output>`;
  const [name, range, output] = row.children;
  name.textContent = label.replaceAll("_", " ");
  Object.assign(range, { min: Math.min(min, value), max: Math.max(max, value), step });
  range.value = value;
  output.textContent = String(Number(value.toPrecision(4)));
  const heard = (isFinal) => { output.textContent = range.value; moved(Number(range.value), isFinal); };
  range.addEventListener("input", () => heard(false));
  range.addEventListener("change", () => heard(true));
  return row;
}
