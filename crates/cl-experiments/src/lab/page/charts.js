// Curves and heatmaps.

// Okabe and Ito's colours; on white, whatever the theme.
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#282828"];
const INK = "#282828";
// The run that is shown is solid, pinned ones are dashed, each in its own way.
export const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 2], [12, 6], [1, 2], [6, 2, 2, 2]];

/** A line as the n-th run has it, for legends. */
export function swatch(stroke, run, dash = DASHES[run % DASHES.length].join(" ")) {
  const template = document.createElement("template");
  template.innerHTML = `<svg class="swatch" viewBox="0 0 32 10" aria-hidden="true"><line x1="0" y1="5" x2="32" y2="5" stroke="${stroke}" stroke-width="2.5" stroke-dasharray="${dash}"/></svg>`;
  return template.content.firstChild;
}

/** A chart of some keys of snapshots over steps, for any number of runs. */
export class Chart {
  /** `lines`: [{ key, label }]; `log`: whether heights are logarithmic; `range`: of heights, if it is known. */
  constructor(parent, title, lines, { log = false, range } = {}) {
    this.lines = lines;
    this.range = range;
    this.log = log;
    this.root = document.createElement("section");
    this.root.className = "view";
    this.root.innerHTML = `<h2></h2><div class="plot"></div><ul class="legend"></ul>`;
    this.root.querySelector("h2").textContent = title;
    this.place = this.root.querySelector(".plot");
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", `${title}, curves over steps; the latest values stand below`);
    this.legend = this.root.querySelector(".legend");
    parent.append(this.root);
    this.resized = new ResizeObserver(() => this.plot?.setSize(this.size()));
    this.resized.observe(this.place);
  }

  size() {
    const height = matchMedia("(max-width: 48rem)").matches ? 150 : 190;
    return { width: Math.max(this.place.clientWidth, 120), height };
  }

  /** `runs`: [{ name, snapshots }], the one that is shown first. `extra`: [{ label, steps, values, dash }], on top of them. */
  show(runs, extra = []) {
    const steps = [...new Set([...runs.flatMap((run) => run.snapshots.map((s) => s.step)), ...extra.flatMap((e) => e.steps)])].sort((a, b) => a - b);
    const at = new Map(steps.map((step, i) => [step, i]));
    const data = [steps];
    const series = [{}];
    const names = [];
    const fill = (pairs) => {
      const column = new Array(steps.length).fill(undefined);
      for (const [step, value] of pairs) {
        const shown = Number.isFinite(value) && (!this.log || value > 0);
        column[at.get(step)] = shown ? value : null;
      }
      return column;
    };
    runs.forEach((run, r) => {
      this.lines.forEach(({ key, label }, i) => {
        data.push(fill(run.snapshots.map((s) => [s.step, read(s, key)])));
        const stroke = COLORS[(this.lines.length === 1 ? r : i) % COLORS.length];
        series.push({ stroke, width: r === 0 ? 2 : 1.5, dash: DASHES[r % DASHES.length], spanGaps: true, points: { show: false } });
        names.push({ label, run: r, stroke, value: read(run.snapshots.at(-1), key) });
      });
    });
    for (const { label, steps, values, dash } of extra) {
      data.push(fill(steps.map((step, i) => [step, values[i]])));
      series.push({ stroke: INK, width: 2.5, dash, spanGaps: true, points: { show: false } });
      names.push({ label, run: -1, stroke: INK, dash: dash.join(" ") });
    }
    const shape = `${series.length}:${this.log}:${extra.length}:${runs.length}`;
    if (this.plot && this.shape === shape) {
      this.plot.setData(data);
    } else {
      this.plot?.destroy();
      this.shape = shape;
      const axis = { stroke: "#5f6368", grid: { stroke: "#e2e4e7", width: 1 }, ticks: { stroke: "#e2e4e7" }, font: "12px system-ui" };
      this.plot = new uPlot({
        ...this.size(), series, legend: { show: false }, cursor: { drag: { x: false, y: false } },
        scales: { x: { time: false }, y: { ...(this.log ? { distr: 3 } : {}), ...(this.range ? { range: this.range } : {}) } },
        axes: [{ ...axis, size: 28 }, { ...axis, size: 52 }],
      }, data, this.place);
    }
    this.legend.replaceChildren(...names.filter((n) => n.run <= 0 || this.lines.length === 1).map(({ label, run, stroke, value, dash }) => {
      const item = document.createElement("li");
      item.append(swatch(stroke, run, dash));
      const name = this.lines.length === 1 && runs.length > 1 && run >= 0 ? runs[run].name : label;
      item.append(`${name}${run < 0 ? "" : ` ${shortNumber(value)}`}`);
      return item;
    }));
  }

  remove() {
    this.resized.disconnect();
    this.plot?.destroy();
    this.root.remove();
  }
}

/** The number at a dotted key of a snapshot. */
export function read(snapshot, key) {
  return key.split(".").reduce((value, part) => value?.[part], snapshot);
}

export function shortNumber(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

// Cividis, which people with and without colour vision see alike: some of its colours, between which others lie.
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [253, 234, 69]];

function color(value) {
  const at = Math.min(Math.max(value, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((c, i) => Math.round(c + (at - low) * (CIVIDIS[low + 1][i] - c)));
}

/** Pictures of models side by side: rows are sorted by the column in which they are largest. */
export class Heatmaps {
  constructor(parent) {
    this.root = document.createElement("section");
    this.root.className = "view";
    this.root.innerHTML = `<h2></h2><div class="heat"></div><div class="scale"><span>0</span><canvas width="128" height="1"></canvas><span>1</span><label><input type="checkbox" checked> sort neurons by feature</label></div>`;
    parent.append(this.root);
    const scale = this.root.querySelector(".scale canvas").getContext("2d");
    for (let x = 0; x < 128; x++) {
      scale.fillStyle = `rgb(${color(x / 127)})`;
      scale.fillRect(x, 0, 1, 1);
    }
    this.sorts = this.root.querySelector("input");
    this.sorts.addEventListener("change", () => this.show(this.pictures));
    this.heat = this.root.querySelector(".heat");
    this.pictures = [];
  }

  /** `pictures`: [{ name, picture }] with pictures as the server sends them. */
  show(pictures) {
    this.pictures = pictures.filter((p) => p.picture);
    const appears = this.root.hidden && this.pictures.length > 0;
    this.root.hidden = this.pictures.length === 0;
    // It stands first, and where views are a strip that is scrolled it would otherwise be left of what is seen.
    if (appears) this.root.parentElement.scrollLeft = 0;
    if (this.root.hidden) return;
    const first = this.pictures[0].picture;
    this.root.querySelector("h2").textContent = first.title;
    while (this.heat.children.length > this.pictures.length) this.heat.lastChild.remove();
    this.pictures.forEach(({ name, picture }, i) => {
      let figure = this.heat.children[i];
      if (!figure) {
        figure = document.createElement("figure");
        figure.innerHTML = `<canvas role="img"></canvas><figcaption></figcaption>`;
        this.heat.append(figure);
      }
      const [rows, columns] = picture.shape;
      const text = `${name}: rows ${picture.sides[0]} (${rows}), columns ${picture.sides[1]} (${columns}), step ${picture.step}`;
      figure.querySelector("figcaption").textContent = text;
      const canvas = figure.querySelector("canvas");
      canvas.setAttribute("aria-label", `${picture.title}. ${text}`);
      paint(canvas, picture, this.sorts.checked);
    });
  }
}

function paint(canvas, { shape: [rows, columns], bytes }, sorted) {
  const values = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  const row = (i) => values.subarray(i * columns, (i + 1) * columns);
  const order = Array.from({ length: rows }, (_, i) => i);
  if (sorted) {
    const best = order.map((i) => row(i).reduce((b, v, j, all) => (v > all[b] ? j : b), 0));
    order.sort((a, b) => best[a] - best[b] || row(b)[best[b]] - row(a)[best[a]]);
  }
  if (canvas.width !== columns || canvas.height !== rows) [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const table = Array.from({ length: 256 }, (_, v) => color(v / 255));
  order.forEach((i, y) => row(i).forEach((v, x) => image.data.set([...table[v], 255], 4 * (y * columns + x))));
  context.putImageData(image, 0, 0);
}

/** Charts for snapshots of this shape: chosen ones for the sparse coding model, one for each number otherwise. */
export function chartsFor(parent, snapshot) {
  if (snapshot.coverage_mean !== undefined) {
    return [
      new Chart(parent, "Energy in span(M), coverage of features", [{ key: "energy_in_span", label: "energy in span(M)" }, { key: "coverage_mean", label: "coverage" }, { key: "coverage_min", label: "least coverage" }], { range: [0, 1] }),
      new Chart(parent, "Correlation with features, probe", [{ key: "correlation_sparse", label: "sparse" }, { key: "correlation_dense", label: "dense" }, { key: "probe_r_squared", label: "probe R²" }]),
      new Chart(parent, "Held-out loss", [{ key: "loss", label: "loss" }]),
      Object.assign(new Chart(parent, "Norms of the weights", [{ key: "norm_in_span", label: "in span(M)" }, { key: "norm_complement", label: "in the complement" }], { log: true }), { predicts: true }),
    ];
  }
  const numbers = [];
  const collect = (value, key) => {
    if (typeof value === "number" && key !== "step") numbers.push(key);
    else if (value && typeof value === "object" && !Array.isArray(value)) for (const [k, v] of Object.entries(value)) collect(v, key ? `${key}.${k}` : k);
  };
  collect(snapshot, "");
  return numbers.slice(0, 12).map((key) => new Chart(parent, key.replaceAll("_", " "), [{ key, label: key }]));
}
