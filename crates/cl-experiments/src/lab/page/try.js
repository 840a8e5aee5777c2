// A run that follows the sliders.

import { chartsFor, Heatmaps, swatch } from "./charts.js";
import { Controls, toml } from "./controls.js";
import { connectionLost, events, post, Refused, say } from "./events.js";

const byId = (id) => document.getElementById(id);
// The page's own name: the server keeps one run for it.
const page = crypto.randomUUID();
const MOST_PINS = 7;

let inventory;
let controls;
let heatmaps;
let charts = [];
let state = null;
let run = null;
let pins = [];
let prediction = null;
let request = null;
let timers = {};
let turn = 0;
// Settings that follow one another by themselves, each pinned when it is complete.
let toCome = [];
const PRESETS = [
  { name: "With masks the network learns the sparse features (c3)", steps: [{ from: "c3/masked" }] },
  { name: "Mask against none, side by side", steps: [{ from: "c3/masked" }, { from: "c3/masked", set: [["views.transform", "[]"]] }] },
  { name: "What a public program does (pokle2022)", steps: [{ from: "pokle2022/k-sparse" }] },
];

export function prepare(given) {
  inventory = given;
  byId("problems").hidden = inventory.problems.length === 0;
  byId("problems").textContent = `Experiment files that cannot be read are left out: ${inventory.problems.join("; ")}`;
  const preset = byId("preset");
  const begin = document.createElement("optgroup");
  begin.label = "Begin here";
  for (const { name, steps } of PRESETS) {
    const known = ({ from }) => inventory.claims.some((c) => c.points.some((p) => `${c.name}/${p.name}` === from));
    if (steps.every(known)) begin.append(new Option(name, name));
  }
  preset.append(begin);
  for (const claim of inventory.claims) {
    const group = document.createElement("optgroup");
    group.label = `${claim.name}: ${claim.title}`;
    for (const point of claim.points) group.append(new Option(`${claim.name} · ${point.name}`, `${claim.name}/${point.name}`));
    preset.append(group);
  }
  preset.addEventListener("change", () => {
    const [first, ...others] = PRESETS.find((p) => p.name === preset.value)?.steps ?? [{ from: preset.value }];
    choose(first);
    toCome = others;
  });
  controls = new Controls(byId("knobs"), inventory, { change: set, objective: chooseObjective, seed: (value) => { state.seed = value.trim() === "" ? null : value.trim(); changed(true); } });
  heatmaps = new Heatmaps(byId("views"));
  heatmaps.root.hidden = true;
  byId("lines").addEventListener("change", takeLines);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("pin").addEventListener("click", pin);
  byId("again").addEventListener("click", () => start());
  byId("copy").addEventListener("click", copyFile);
  byId("link").addEventListener("click", () => copy(location.href, "The link is copied."));
  byId("save").addEventListener("click", save);
  addEventListener("pagehide", () => {
    request?.abort();
    navigator.sendBeacon("/api/leave", new Blob([JSON.stringify({ page })], { type: "application/json" }));
  });
}

export function enter() {
  toCome = [];
  const found = fromAddress();
  // The same settings go on as they are.
  if (state && run && toAddress(found) === toAddress(state) && !["gone", "refused"].includes(run.state)) return;
  state = found;
  start();
}

export function leave() {}

/** Settings as the address carries them: ?from=c3/masked&seed=201&key=value… */
function fromAddress() {
  const found = { from: null, seed: null, set: new Map() };
  for (const [key, value] of new URLSearchParams(location.search)) {
    if (key === "from") found.from = value;
    else if (key === "seed") found.seed = value;
    else found.set.set(key, value);
  }
  const c3 = inventory.claims.find((claim) => claim.name === "c3") ?? inventory.claims[0];
  found.from ??= c3 ? `${c3.name}/${c3.points[0].name}` : "";
  return found;
}

function toAddress({ from, seed, set }) {
  const query = new URLSearchParams({ from });
  if (seed !== null) query.set("seed", seed);
  for (const [key, value] of set) query.append(key, value);
  return `/?${query.toString().replaceAll("%2F", "/")}`;
}

function settings() {
  const [claim, ...point] = state.from.split("/");
  const seed = state.seed ?? undefined;
  return { claim, point: point.join("/") || undefined, seed, set: [...state.set] };
}

/** Settings without any change but these. */
function choose({ from, set = [] }) {
  state = { from, seed: null, set: new Map(set) };
  changed(true);
}

function set(pairs, isFinal) {
  for (const [key, value] of pairs) {
    // What stood below a key that is set as a whole is part of it now.
    for (const other of [...state.set.keys()]) if (other.startsWith(`${key}.`)) state.set.delete(other);
    state.set.delete(key);
    state.set.set(key, value);
  }
  changed(isFinal);
}

/** Chooses a loss. On the sparse coding model it is taken over with the values that an experiment gives it: learning rate, head, copy and queue belong to it. */
async function chooseObjective(name) {
  const recipe = inventory.objectives[name];
  if (!recipe || !run?.spec.data?.sparse_coding) return set([["objective", JSON.stringify(name)]], true);
  const answer = await post("/api/check", recipe);
  if (answer.error) return wrong(answer.error);
  const { spec } = answer;
  const pairs = [["objective", toml(spec.objective)]];
  for (const key of ["learning_rate", "optimizer", "gradient_clip"]) pairs.push([`optimization.${key}`, spec.optimization[key] === undefined ? "" : toml(spec.optimization[key])]);
  for (const key of ["predictor", "momentum_copy", "queue", "projector"]) pairs.push([`model.${key}`, spec.model[key] === undefined ? "" : toml(spec.model[key])]);
  pairs.push(["data.sparse_coding.negatives", toml(spec.data.sparse_coding.negatives)]);
  set(pairs, true);
}

/** Settings in the notation of experiment files: these lines, and no others. */
function takeLines() {
  const pairs = [];
  for (const line of byId("lines").value.split("\n").map((l) => l.trim()).filter((l) => l && !l.startsWith("#"))) {
    const at = line.indexOf("=");
    if (at < 0) return wrong(`${line}: a line is key = value`);
    pairs.push([line.slice(0, at).trim(), line.slice(at + 1).trim()]);
  }
  wrong("");
  state.set = new Map(pairs);
  changed(true);
}

function changed(isFinal) {
  toCome = [];
  const address = toAddress(state);
  // Each place where a slider rests is a place to go back to.
  if (isFinal && location.pathname + location.search !== address) history.pushState(null, "", address);
  clearTimeout(timers.start);
  timers.start = setTimeout(start, 40);
}

const wrong = (message) => { byId("wrong").textContent = message; };

/** Starts the run of the present settings; the one before ends. */
async function start() {
  request?.abort();
  const own = (request = new AbortController());
  const asked = settings();
  const address = toAddress(state);
  document.querySelector("nav a[data-place=try]").href = address;
  for (const pinned of pins) if (pinned.run.state === "under way") pinned.kept = "not kept: it was not at its end";
  showPins();
  let mine = null;
  try {
    for await (const { name, data } of events("/api/try", { page, turn: ++turn, settings: asked }, own.signal)) {
      if (own !== request) return;
      if (name === "started") {
        wrong("");
        mine = begin(data, asked, address);
      } else hear(name, data);
    }
    if (own === request && mine?.state === "under way") ended("gone");
  } catch (error) {
    if (own !== request || error.name === "AbortError") return;
    if (!(error instanceof Refused)) return ended("gone");
    wrong(error.message);
    showLines();
    // What is wrong can be set right here, whatever key it has.
    byId("more").open = true;
    if (run) ended("refused");
  }
}

/** A run that has been started. */
function begin(data, asked, address) {
  const { spec, seed } = data.run;
  run = { name: "this run", number: data.number, asked, address, spec, seed, steps: spec.optimization?.steps, snapshots: [], picture: null, state: "under way", begun: performance.now() };
  prediction = null;
  controls.show(spec, state, seed);
  byId("preset").value = state.from;
  byId("statement").textContent = inventory.claims.find((c) => c.name === asked.claim)?.statement ?? "";
  showLines();
  progress();
  say(`A run of ${asked.claim} has begun.`);
  clearTimeout(timers.predict);
  timers.predict = setTimeout(predict, 150, run);
  return run;
}

function hear(name, data) {
  if (name === "snapshots") {
    run.snapshots.push(...data);
    draw();
    progress();
  } else if (name === "anew") {
    run.snapshots = [];
  } else if (name === "picture") {
    run.picture = data;
    draw();
  } else if (name === "warning") {
    wrong(data);
  } else if (name === "over") {
    ended(data.state, data.message);
  }
}

const ENDS = { complete: "complete", failed: "failed", displaced: "ended for a newer run", gone: "interrupted", refused: "ended: the new settings are refused" };
const REASONS = { displaced: "A newer run in another window has taken the place of this one; so many are under way at once as there are cores to spare." };

async function ended(how, message = REASONS[how]) {
  if (how === "gone") connectionLost("The laboratory does not answer any more. What is shown stays; it goes on once the program runs again at this address.");
  if (message) wrong(message);
  if (!run) return;
  run.state = how;
  // A run that failed before it could be measured has no curves; those of the run before are not its own.
  if (!run.snapshots.length) draw();
  progress(true);
  say(`The run is ${ENDS[how]}.`);
  for (const pinned of pins.filter((p) => p.run === run && p.folder)) {
    pinned.kept = how === "complete" ? `kept in ${pinned.folder}` : "not kept: it was not at its end";
    showPins();
  }
  const of = run;
  const [next, ...others] = how === "complete" ? toCome : [];
  if (!next) return;
  await pin();
  if (run !== of || !toCome.length) return;
  choose(next);
  toCome = others;
}

async function predict(of) {
  if (of !== run) return;
  const answer = await post("/api/predict", of.asked);
  if (of !== run || answer.error || !answer.steps.length) return;
  prediction = answer;
  draw();
}

/** What is predicted, as long as it is near what can be seen. */
function predicted() {
  if (!prediction || !run.snapshots.length) return [];
  const most = Math.max(...run.snapshots.flatMap((s) => [s.norm_in_span, s.norm_complement]).filter(Number.isFinite)) * 1.5;
  const last = prediction.steps.findIndex((_, i) => prediction.in_span[i] > most || prediction.complement[i] > most);
  const n = last < 0 ? prediction.steps.length : last;
  const curve = (label, values, dash) => ({ label, dash, steps: prediction.steps.slice(0, n), values: values.slice(0, n) });
  return [curve("predicted, in span(M)", prediction.in_span, [1, 5]), curve("predicted, in the complement", prediction.complement, [4, 4])];
}

/** Draws once before the next frame, however many events there were. */
function draw() {
  if (timers.frame) return;
  timers.frame = requestAnimationFrame(() => {
    timers.frame = 0;
    if (!run?.snapshots.length) {
      // Until there is something to see, what was seen before stays, unless there will not be anything.
      if (run && run.state !== "under way") {
        charts.forEach((chart) => chart.remove());
        charts = [];
        draw.shape = null;
        heatmaps.show([]);
      }
      return;
    }
    const shape = Object.keys(run.snapshots[0]).join();
    if (shape !== draw.shape) {
      draw.shape = shape;
      charts.forEach((chart) => chart.remove());
      charts = chartsFor(byId("views"), run.snapshots[0]);
    }
    const shown = [run, ...pins.map((p) => ({ name: p.name, snapshots: p.run.snapshots, picture: p.run.picture }))];
    for (const chart of charts) chart.show(shown, chart.predicts ? predicted() : []);
    heatmaps.show([run, ...shown.slice(1).slice(-1)]);
  });
}

function progress(now = false) {
  const write = () => {
    const step = run.snapshots.at(-1)?.step ?? 0;
    const seconds = ((performance.now() - run.begun) / 1000).toFixed(1);
    byId("progress").textContent = `${ENDS[run.state] ?? "learning"} · step ${step}${run.steps ? ` of ${run.steps}` : ""} · seed ${run.seed} · ${seconds} s`;
    document.body.dataset.run = run.state;
  };
  clearTimeout(timers.write);
  const since = performance.now() - (progress.last ?? 0);
  if (now || since > 100) {
    progress.last = performance.now();
    write();
  } else timers.write = setTimeout(write, 100 - since);
}

function showLines() {
  const lines = byId("lines");
  if (document.activeElement !== lines) lines.value = [...state.set].map(([key, value]) => `${key} = ${value}`).join("\n");
}

async function pin() {
  if (!run?.snapshots.length) return;
  const pinned = { run, name: `pinned ${(pin.count = (pin.count ?? 0) + 1)}` };
  pins = [...pins, pinned].slice(-MOST_PINS);
  showPins();
  draw();
  const answer = await post("/api/pin", { page, number: pinned.run.number });
  pinned.folder = answer.folder;
  pinned.kept = answer.error ?? (answer.is_kept ? `kept in ${answer.folder}` : `will be kept in ${answer.folder} if it comes to its end`);
  showPins();
}

function showPins() {
  byId("pins").replaceChildren(...pins.map((pinned, i) => {
    const item = document.createElement("li");
    item.append(swatch("currentColor", i + 1));
    const link = document.createElement("a");
    link.href = pinned.run.address;
    link.dataset.place = "try";
    link.textContent = pinned.name;
    const away = document.createElement("button");
    away.type = "button";
    away.textContent = "Unpin";
    away.setAttribute("aria-label", `Unpin ${pinned.name}`);
    away.addEventListener("click", () => {
      pins = pins.filter((p) => p !== pinned);
      showPins();
      draw();
    });
    const { asked, seed } = pinned.run;
    const differs = asked.set.map(([key, value]) => `${key.split(".").pop()} = ${value}`).join(", ");
    item.append(link, ` ${asked.claim} · ${asked.point ?? ""} · seed ${seed}${differs ? ` · ${differs}` : ""}${pinned.kept ? ` · ${pinned.kept}` : ""} `, away);
    return item;
  }));
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
    byId("wrong").textContent = "";
  } catch {
    wrong("The browser does not let this page write to the clipboard; save the file instead.");
  }
}

async function experimentFile() {
  const answer = await post("/api/check", settings());
  if (answer.error) wrong(answer.error);
  return answer.file;
}

async function copyFile() {
  const file = await experimentFile();
  if (file) await copy(file, "The experiment file is copied: put it into experiments/mine/experiment.toml, then cargo run --release -- reproduce mine");
}

async function save(event) {
  if (save.ready) {
    save.ready = false;
    return;
  }
  event.preventDefault();
  const file = await experimentFile();
  if (!file) return;
  const link = byId("save");
  const address = URL.createObjectURL(new Blob([file], { type: "application/toml" }));
  link.href = address;
  save.ready = true;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(address); link.href = "#"; }, 1000);
}
