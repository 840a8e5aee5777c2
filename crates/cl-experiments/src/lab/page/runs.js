// The runs there are, side by side.

import { chartsFor, Heatmaps, swatch } from "./charts.js";
import { events } from "./events.js";

const byId = (id) => document.getElementById(id);
const MOST_SHOWN = 300;
const MOST_CHOSEN = 8;
const STATES = { complete: "complete", under_way: "under way", stopped: "stopped" };

let listed = [];
let chosen = new Map();
let charts = [];
let heatmaps;
let timer = 0;
let inventory;
let watching = null;
// Counts entrances: what was asked for before the last one does not count any more.
let entered = 0;

export function prepare(given) {
  inventory = given;
  heatmaps = new Heatmaps(byId("run-views"));
  heatmaps.root.hidden = true;
  byId("search").addEventListener("input", () => { showList(); address(false); });
}

export async function enter() {
  const own = ++entered;
  const query = new URLSearchParams(location.search);
  byId("search").value = query.get("search") ?? "";
  const asked = query.getAll("run").slice(0, MOST_CHOSEN);
  for (const folder of [...chosen.keys()]) if (!asked.includes(folder)) chosen.delete(folder);
  clearInterval(timer);
  timer = setInterval(() => document.hidden || refresh(), 3000);
  await refresh();
  for (const folder of asked) if (own === entered && !chosen.has(folder)) await add(folder);
  if (own === entered) show();
}

export function leave() {
  entered += 1;
  clearInterval(timer);
  chosen = new Map();
  show();
}

function address(isNew) {
  const query = new URLSearchParams();
  if (byId("search").value) query.set("search", byId("search").value);
  for (const folder of chosen.keys()) query.append("run", folder);
  const text = query.size ? `/runs?${query}` : "/runs";
  if (text !== location.pathname + location.search) history[isNew ? "pushState" : "replaceState"](null, "", text);
}

async function refresh() {
  try {
    const answer = await fetch("/api/runs");
    listed = await answer.json();
  } catch {
    // The page says above that the server is gone.
    return;
  }
  showList();
  // A run that somebody goes on with.
  const resumed = listed.filter((run) => run.state === "under_way" && chosen.get(run.folder)?.state === "stopped");
  for (const { folder } of resumed) chosen.get(folder).state = "under_way";
  if (resumed.length) follow();
}

function showList() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = listed.filter((run) => {
    const text = `${run.claim} ${run.point} seed-${run.seed} ${run.seed} ${STATES[run.state]}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const more = matches.length > MOST_SHOWN ? `, the first ${MOST_SHOWN} are shown` : "";
  const found = `${matches.length} of ${listed.length} runs${more}`;
  if (byId("found").textContent !== found) byId("found").textContent = found;
  const active = document.activeElement?.dataset?.folder;
  byId("list").replaceChildren(...matches.slice(0, MOST_SHOWN).map((run) => {
    const item = document.createElement("li");
    item.innerHTML = `<label><input type="checkbox"><span></span><span class="state"></span></label>`;
    const box = item.querySelector("input");
    box.checked = chosen.has(run.folder);
    box.dataset.folder = run.folder;
    box.addEventListener("change", () => toggle(run.folder, box));
    item.querySelector("span").textContent = `${run.claim} · ${run.point} · ${run.seed}`;
    item.querySelector(".state").textContent = STATES[run.state];
    return item;
  }));
  // A list that is written anew does not take the focus away.
  if (active) byId("list").querySelector(`input[data-folder="${CSS.escape(active)}"]`)?.focus();
}

async function toggle(folder, box) {
  wrong("");
  if (!box.checked) chosen.delete(folder);
  else if (chosen.size >= MOST_CHOSEN) {
    box.checked = false;
    return wrong(`${MOST_CHOSEN} runs at most can be told apart; take one away first.`);
  } else await add(folder, box);
  address(true);
  show();
}

const wrong = (message) => { byId("runs-wrong").textContent = message; };

async function add(folder, box) {
  const own = entered;
  const answer = await fetch(`/api/run?${new URLSearchParams({ folder })}`);
  const found = await answer.json();
  if (found.error) return wrong(found.error);
  if (own !== entered || box?.checked === false) return;
  const [claim, point, seed] = folder.split("/");
  chosen.set(folder, { ...found, folder, claim, name: `${claim} ${point.replace(/-[0-9a-f]{12}$/, "")} ${seed}` });
}

/** The chosen runs that are made just now, in one stream. */
async function follow() {
  watching?.abort();
  const folders = [...chosen.values()].filter((run) => run.state === "under_way").map((run) => run.folder);
  follow.folders = folders.join("\n");
  if (!folders.length) return;
  const own = (watching = new AbortController());
  const begun = new Set();
  try {
    for await (const { name, id, data } of events("/api/watch", { folders }, own.signal)) {
      const run = chosen.get(id);
      if (own !== watching) return;
      if (!run) continue;
      // The first event of a stream has everything from the beginning.
      if (name === "snapshots") {
        run.snapshots = begun.has(id) ? [...run.snapshots, ...data] : data;
        begun.add(id);
      } else if (name === "anew") begun.delete(id);
      else if (name === "picture") run.picture = data;
      else if (name === "over") {
        run.state = data.state;
        show();
      }
      draw();
    }
  } catch (error) {
    if (error.name !== "AbortError") wrong(error.message);
  }
}

function show() {
  const runs = [...chosen.values()];
  const under = runs.filter((run) => run.state === "under_way").map((run) => run.folder).join("\n");
  if (under !== (follow.folders ?? "")) follow();
  const claims = [...new Set(runs.map((run) => run.claim))].filter((claim) => inventory.claims.some((c) => c.name === claim));
  byId("of-runs").replaceChildren(
    ...claims.map((claim) => link(`Report of ${claim}`, `/report?${new URLSearchParams({ claim })}`)),
    ...runs.filter((run) => run.state === "complete").map((run) => button(`Figures of ${run.name}`, () => {
      Object.assign(byId("figures"), { hidden: false, src: `/figures?${new URLSearchParams({ folder: run.folder })}` });
      byId("figures").dataset.folder = run.folder;
    })),
  );
  if (!chosen.has(byId("figures").dataset.folder)) byId("figures").hidden = true;
  settings(runs);
  draw();
}

function link(text, href) {
  const made = Object.assign(document.createElement("a"), { href, textContent: text, className: "button", target: "_blank" });
  made.rel = "noopener";
  return made;
}

function button(text, pressed) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.addEventListener("click", pressed);
  return made;
}

/** Which run is drawn how, and how far it is. */
function key() {
  const runs = [...chosen.values()];
  byId("hint").hidden = runs.length > 0;
  byId("chosen").replaceChildren(...runs.map((run, i) => {
    const item = document.createElement("li");
    item.append(swatch("currentColor", i), ` ${i + 1}: ${run.name}, ${STATES[run.state]}, step ${run.snapshots.at(-1)?.step ?? 0}`);
    return item;
  }));
}

function draw() {
  key();
  const runs = [...chosen.values()].filter((run) => run.snapshots.length);
  const shapes = runs.map((run) => Object.keys(run.snapshots[0]).join()).join("|");
  if (shapes !== draw.shapes) {
    draw.shapes = shapes;
    charts.forEach((chart) => chart.remove());
    charts = runs.length ? chartsFor(byId("run-views"), runs[0].snapshots[0]) : [];
  }
  for (const chart of charts) chart.show(runs);
  heatmaps.show(runs.slice(0, 2));
}

/** Every setting of the runs, those that differ first. */
function settings(runs) {
  const table = byId("settings");
  table.hidden = runs.length === 0;
  const flat = runs.map((run) => flatten(run.spec));
  const keys = [...new Set(flat.flatMap((f) => Object.keys(f)))].sort();
  const differs = (key) => new Set(flat.map((f) => f[key])).size > 1;
  keys.sort((a, b) => differs(b) - differs(a));
  const head = document.createElement("tr");
  head.append(cell("th", "setting"), ...runs.map((run, i) => cell("th", `${i + 1}: ${run.name}`)));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...keys.map((key) => {
    const row = document.createElement("tr");
    row.classList.toggle("differs", differs(key));
    row.append(cell("th", key), ...flat.map((f) => cell("td", f[key] ?? "–")));
    return row;
  }));
}

function cell(kind, text) {
  return Object.assign(document.createElement(kind), { textContent: text });
}

function flatten(value, key = "") {
  if (value === null || typeof value !== "object") return { [key]: JSON.stringify(value) };
  const below = Object.entries(value).map(([k, v]) => flatten(v, key ? `${key}.${k}` : k));
  return below.length ? Object.assign({}, ...below) : { [key]: Array.isArray(value) ? "[]" : "{}" };
}
