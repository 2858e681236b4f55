"use strict";

// ---- Data ------------------------------------------------------------------------------------------------

const data = JSON.parse(document.getElementById("data").textContent);
const count = data.count;
const element = id => document.getElementById(id);

function unpack(text, type) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  return new type(bytes.buffer);
}

function unpackCategories(found) {
  for (const one of Object.values(found)) one.codes = unpack(one.codes, Uint16Array);
  return found;
}

const rows = unpack(data.rows, Uint32Array);
const shared = unpackCategories(data.categories);
for (const side of data.sides) {
  side.neighbours = unpack(side.neighbours, Uint16Array);
  side.similarity = unpack(side.similarity, Int16Array);
  side.categories = { ...shared, ...unpackCategories(side.categories) };
  for (const [name, text] of Object.entries(side.projections)) side.projections[name] = unpack(text, Uint16Array);
}

/** Name of the category of a point, or null. */
function categoryName(side, key, point) {
  const found = side.categories[key];
  return found && found.codes[point] !== data.none ? found.names[found.codes[point]] : null;
}

const fileOf = point => (data.files ? data.files[point] : `image ${rows[point]}`);

// ---- State -----------------------------------------------------------------------------------------------

const state = {
  projection: Object.keys(data.sides[0].projections).pop(),
  colour: shared.class ? "class" : "cluster",
  lasso: false,
  hidden: new Set(), // names of hidden categories of the colour; null: points without a category
  query: "",
  matching: null, // Uint8Array of the points that match the query, or null
  selected: new Uint8Array(count),
  selectedCount: 0,
  hovered: -1,
  pinned: -1,
};

// ---- Colours ---------------------------------------------------------------------------------------------

// Okabe and Ito's colours without black and yellow, six more, then hues at the golden angle.
const PALETTE = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6bbe", "#7f7f00", "#7b4a2e", "#b3003c",
  "#8fd14f", "#3b3b98",
];
const FIXED = { right: "#0072b2", wrong: "#d55e00" };
const GREY = "#8c8c8c";
const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function rgb(colour) {
  brush.canvas.width = brush.canvas.height = 1;
  brush.fillStyle = colour;
  brush.fillRect(0, 0, 1, 1);
  return brush.getImageData(0, 0, 1, 1).data;
}

function colourOf(key, code) {
  if (code === data.none) return GREY;
  if (key === "correct") return FIXED[data.sides[0].categories.correct.names[code]];
  if (code < PALETTE.length) return PALETTE[code];
  return `hsl(${(code * 137.508) % 360} ${50 + 15 * (code % 3)}% ${38 + 12 * ((code >> 1) % 3)}%)`;
}

/** [code, name, number of points] of every category of the current colour that has points in some plot. */
function legendEntries() {
  const numbers = new Map();
  for (const side of data.sides) {
    const found = side.categories[state.colour];
    if (!found) continue;
    const own = new Map();
    for (const code of found.codes) own.set(code, (own.get(code) || 0) + 1);
    for (const [code, number] of own) {
      if (!numbers.has(code)) numbers.set(code, [code, code === data.none ? null : found.names[code], []]);
      numbers.get(code)[2].push(number);
    }
    if (found === shared[state.colour]) break;
  }
  return [...numbers.values()].sort((a, b) => a[0] - b[0]);
}

// ---- Plots -----------------------------------------------------------------------------------------------

const CELLS = 64; // cells of the search grid on each axis
const STEPS = 65535;
const HIDDEN = 0xffffffff;
const REACH = 14; // pixels around the pointer in which a point is hovered

class Plot {
  constructor(side, index) {
    this.side = side;
    this.index = index;
    const figure = document.createElement("figure");
    figure.className = "panel";
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.append(Object.assign(document.createElement("b"), { textContent: side.name }), ` ${side.about}`);
    this.box = figure.appendChild(document.createElement("div"));
    this.box.className = "plot";
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "application");
    this.box.setAttribute("aria-label", `Plot of ${side.name}`);
    this.points = this.box.appendChild(document.createElement("canvas")).getContext("2d", { alpha: false });
    this.marks = this.box.appendChild(document.createElement("canvas")).getContext("2d");
    element("panels").append(figure);
    this.lasso = null;
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  resize() {
    const { clientWidth, clientHeight } = this.box;
    if (!clientWidth || !clientHeight) return;
    this.dpr = Math.min(window.devicePixelRatio || 1, 2);
    for (const { canvas } of [this.points, this.marks]) {
      canvas.width = Math.round(clientWidth * this.dpr);
      canvas.height = Math.round(clientHeight * this.dpr);
    }
    this.picture = this.points.createImageData(this.points.canvas.width, this.points.canvas.height);
    this.pixels = new Uint32Array(this.picture.data.buffer);
    this.width = clientWidth;
    this.height = clientHeight;
    this.fit();
  }

  /** Show all points. */
  fit() {
    if (!this.width) return; // before its first layout
    const margin = 20;
    const [wide, high] = this.extent;
    this.scale = Math.min((this.width - 2 * margin) / wide, (this.height - 2 * margin) / high);
    this.left = (this.width - this.scale) / 2;
    this.top = (this.height - this.scale) / 2;
    this.fitted = this.scale;
    redraw();
  }

  /** Use the current projection: its coordinates, and the points of each cell of the search grid. */
  load() {
    this.xy = this.side.projections[state.projection];
    const low = [STEPS, STEPS], high = [0, 0];
    this.xy.forEach((step, place) => {
      low[place % 2] = Math.min(low[place % 2], step);
      high[place % 2] = Math.max(high[place % 2], step);
    });
    // The points are centred, so their extent gives the scale.
    this.extent = [0, 1].map(axis => Math.max(1e-3, (high[axis] - low[axis]) / STEPS));
    const cellOf = point => this.cell(this.xy[2 * point + 1]) * CELLS + this.cell(this.xy[2 * point]);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let point = 0; point < count; point++) this.starts[cellOf(point) + 1]++;
    for (let cell = 0; cell < CELLS * CELLS; cell++) this.starts[cell + 1] += this.starts[cell];
    this.inCells = new Uint16Array(count);
    const next = this.starts.slice();
    for (let point = 0; point < count; point++) this.inCells[next[cellOf(point)]++] = point;
  }

  cell(step) {
    return Math.max(0, Math.min(CELLS - 1, Math.floor((step / (STEPS + 1)) * CELLS)));
  }

  /** Position of a point in the plot, in CSS pixels. */
  position(point) {
    const unit = this.scale / STEPS;
    return [this.left + this.xy[2 * point] * unit, this.top + this.xy[2 * point + 1] * unit];
  }

  /** Nearest visible point within REACH, or −1. */
  nearest(x, y) {
    const unit = STEPS / this.scale;
    const [u, v, reach] = [(x - this.left) * unit, (y - this.top) * unit, REACH * unit];
    let [best, bestSquare] = [-1, reach * reach];
    for (let line = this.cell(v - reach); line <= this.cell(v + reach); line++) {
      const first = this.starts[line * CELLS + this.cell(u - reach)];
      const last = this.starts[line * CELLS + this.cell(u + reach) + 1];
      for (let place = first; place < last; place++) {
        const point = this.inCells[place];
        const [dx, dy] = [this.xy[2 * point] - u, this.xy[2 * point + 1] - v];
        if (dx * dx + dy * dy < bestSquare && this.visible(point)) [best, bestSquare] = [point, dx * dx + dy * dy];
      }
    }
    return best;
  }

  /** Colour of every point as a number 0xBBGGRR, or HIDDEN. */
  prepare() {
    const found = this.side.categories[state.colour];
    const paint = colour => {
      const [red, green, blue] = rgb(colour);
      return (blue << 16) | (green << 8) | red;
    };
    this.tints = new Uint32Array(count).fill(paint(PALETTE[0]));
    if (!found) return;
    const ofCode = new Map();
    for (const [code, name] of legendEntries()) {
      ofCode.set(code, state.hidden.has(name) ? HIDDEN : paint(colourOf(state.colour, code)));
    }
    found.codes.forEach((code, point) => (this.tints[point] = ofCode.get(code)));
  }

  visible(point) {
    return this.tints[point] !== HIDDEN;
  }

  radius() {
    const base = Math.max(1.4, Math.min(4.5, 110 / Math.sqrt(count)));
    return Math.min(9, base * Math.sqrt(Math.max(1, this.scale / this.fitted)));
  }

  /** Draw all points into the pixels of the canvas: 20,000 discs take a few milliseconds. */
  draw() {
    if (!this.picture) return;
    const paper = rgb(getComputedStyle(document.body).backgroundColor);
    this.pixels.fill((255 << 24) | (paper[2] << 16) | (paper[1] << 8) | paper[0]);
    const stamp = makeStamp(this.radius() * this.dpr);
    const emphasis = state.selectedCount > 0 || state.matching !== null;
    if (emphasis) this.stampPoints(stamp, 0.13, point => !emphasised(point));
    this.stampPoints(stamp, 0.85, emphasis ? emphasised : () => true);
    this.points.putImageData(this.picture, 0, 0);
    this.drawMarks();
  }

  stampPoints(stamp, opacity, wanted) {
    const { width, height } = this.picture;
    const { pixels, xy, tints } = this;
    const { reach, dx, dy } = stamp;
    const size = dx.length;
    const covers = stamp.cover.map(cover => Math.round(256 * cover * opacity));
    const offsets = dx.map((across, k) => dy[k] * width + across);
    const unit = (this.scale / STEPS) * this.dpr;
    const [left, top] = [this.left * this.dpr, this.top * this.dpr];
    for (let point = 0; point < count; point++) {
      const x = Math.round(left + xy[2 * point] * unit);
      const y = Math.round(top + xy[2 * point + 1] * unit);
      if (x < -reach || y < -reach || x >= width + reach || y >= height + reach) continue;
      const tint = tints[point];
      if (tint === HIDDEN || !wanted(point)) continue;
      const inside = x >= reach && y >= reach && x < width - reach && y < height - reach;
      const centre = y * width + x;
      for (let k = 0; k < size; k++) {
        if (!inside && (x + dx[k] < 0 || x + dx[k] >= width || y + dy[k] < 0 || y + dy[k] >= height)) continue;
        const place = centre + offsets[k];
        const old = pixels[place];
        const share = covers[k];
        // Red and blue are blended together, as they do not overlap in 32 bits.
        const outer = (old & 0xff00ff) * (256 - share) + (tint & 0xff00ff) * share;
        const green = (old & 0xff00) * (256 - share) + (tint & 0xff00) * share;
        pixels[place] = 0xff000000 | ((outer >>> 8) & 0xff00ff) | ((green >>> 8) & 0xff00);
      }
    }
  }

  /** Draw rings around the shown image and its neighbours, and the lasso. */
  drawMarks() {
    const pen = this.marks;
    pen.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const style = getComputedStyle(document.body);
    const point = shownPoint();
    if (point >= 0) {
      pen.strokeStyle = style.color;
      pen.lineWidth = 1.2;
      for (const other of neighboursOf(this.side, point)) this.ring(other, this.radius() + 2);
      pen.lineWidth = 2.5;
      this.ring(point, this.radius() + 4.5);
    }
    if (this.lasso) {
      pen.beginPath();
      this.lasso.forEach(([x, y], step) => (step ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.fillStyle = "rgb(86 180 233 / 0.2)";
      pen.fill();
      pen.strokeStyle = style.color;
      pen.lineWidth = 1;
      pen.stroke();
    }
  }

  ring(point, radius) {
    const [x, y] = this.position(point);
    this.marks.beginPath();
    this.marks.arc(x, y, radius, 0, 2 * Math.PI);
    this.marks.stroke();
  }

  zoom(factor, x, y) {
    const scale = Math.max(this.fitted / 2, Math.min(this.fitted * 200, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    redraw();
  }

  move(dx, dy) {
    this.left += dx;
    this.top += dy;
    redraw();
  }

  /** Position of an event in the plot. */
  at(event) {
    const box = this.box.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  listen() {
    const box = this.box;
    box.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), ...this.at(event));
    }, { passive: false });
    box.addEventListener("pointerdown", event => {
      box.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.at(event));
      this.dragged = 0;
      if (this.pointers.size > 1) this.lasso = null;
      else if (state.lasso || event.shiftKey) this.lasso = [this.at(event)];
    });
    box.addEventListener("pointermove", event => {
      const [before, now] = [this.pointers.get(event.pointerId), this.at(event)];
      if (!before) return hover(this.nearest(...now), event);
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      this.dragged += Math.hypot(dx, dy);
      if (this.pointers.size === 2) this.pinch(event.pointerId, now);
      else if (this.lasso) {
        this.lasso.push(now);
        this.drawMarks();
      } else if (this.dragged > 3) this.move(dx, dy);
      this.pointers.set(event.pointerId, now);
    });
    const end = event => {
      if (!this.pointers.delete(event.pointerId)) return;
      const [lasso, tapped] = [this.lasso, event.type === "pointerup" && this.dragged <= 5];
      this.lasso = null;
      if (tapped && !this.pointers.size) pin(this.nearest(...this.at(event)));
      else if (lasso && event.type === "pointerup") this.selectInside(lasso);
    };
    box.addEventListener("pointerup", end);
    box.addEventListener("pointercancel", end);
    box.addEventListener("pointerleave", event => this.pointers.size || hover(-1, event));
    box.addEventListener("keydown", event => {
      const [x, y] = [this.width / 2, this.height / 2];
      const actions = {
        ArrowLeft: () => this.move(40, 0), ArrowRight: () => this.move(-40, 0),
        ArrowUp: () => this.move(0, 40), ArrowDown: () => this.move(0, -40),
        "+": () => this.zoom(1.3, x, y), "=": () => this.zoom(1.3, x, y), "-": () => this.zoom(1 / 1.3, x, y),
        0: () => this.fit(),
      };
      if (!actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    });
  }

  /** Two fingers: their distance scales and their middle moves the plot. */
  pinch(moved, now) {
    const [other] = [...this.pointers].filter(([id]) => id !== moved).map(([, position]) => position);
    const before = this.pointers.get(moved);
    const span = position => Math.max(1, Math.hypot(position[0] - other[0], position[1] - other[1]));
    this.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    this.zoom(span(now) / span(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  selectInside(lasso) {
    state.selected.fill(0);
    state.selectedCount = 0;
    for (let point = 0; point < count; point++) {
      if (!this.visible(point) || !isInside(lasso, ...this.position(point))) continue;
      state.selected[point] = 1;
      state.selectedCount++;
    }
    showSelection();
    redraw();
  }
}

/** Even-odd rule: whether a polygon contains a position. */
function isInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

/** Pixels of a disc: offsets from its centre and the covered share of each. */
function makeStamp(radius) {
  const reach = Math.ceil(radius);
  const stamp = { reach, dx: [], dy: [], cover: [] };
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(dx, dy)));
      if (!cover) continue;
      stamp.dx.push(dx);
      stamp.dy.push(dy);
      stamp.cover.push(cover);
    }
  }
  return stamp;
}

function emphasised(point) {
  return (!state.selectedCount || state.selected[point]) && (!state.matching || state.matching[point]);
}

const shownPoint = () => (state.hovered >= 0 ? state.hovered : state.pinned);
const neighboursOf = (side, point) => side.neighbours.subarray(point * side.perPoint, (point + 1) * side.perPoint);

// ---- Images ----------------------------------------------------------------------------------------------

const sheets = data.thumbnails.sheets.map(source => ({ source, image: null }));

/** Draw the image of a point into a canvas, as soon as its sheet is decoded. */
function drawImageOf(point, canvas) {
  const { width, height, cell, columns, perSheet } = data.thumbnails;
  const sheet = sheets[Math.floor(point / perSheet)];
  if (!sheet.image) {
    sheet.image = new Image();
    sheet.image.src = sheet.source;
  }
  canvas.dataset.point = point;
  canvas.width = width;
  canvas.height = height;
  const draw = () => {
    if (canvas.dataset.point !== String(point)) return; // another image was asked for meanwhile
    const place = point % perSheet;
    const [x, y] = [(place % columns) * cell, Math.floor(place / columns) * cell];
    canvas.getContext("2d").drawImage(sheet.image, x, y, width, height, 0, 0, width, height);
  };
  if (sheet.image.complete) draw();
  else sheet.image.addEventListener("load", draw, { once: true });
}

function imageCanvas(point) {
  const canvas = document.createElement("canvas");
  canvas.className = "image";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", fileOf(point));
  drawImageOf(point, canvas);
  return canvas;
}

// ---- Details ---------------------------------------------------------------------------------------------

/** Create an element with attributes, properties and children. */
function make(tag, settings = {}, ...children) {
  const made = Object.assign(document.createElement(tag), settings);
  made.append(...children);
  return made;
}

function showDetails() {
  const point = shownPoint();
  const details = element("details");
  if (details.dataset.point === String(point)) return;
  details.dataset.point = point;
  if (point < 0) {
    details.replaceChildren(make("p", { className: "soft", textContent: "Point at an image to see it." }));
    return;
  }
  const facts = make("dl");
  const fact = (name, text) => facts.append(make("dt", { textContent: name }), make("dd", { textContent: text }));
  fact("row", rows[point]);
  if (data.files) fact("file", data.files[point]);
  for (const key of Object.keys(shared)) fact(key, categoryName(data.sides[0], key, point) ?? "unlabelled");
  details.replaceChildren(make("div", { className: "chosen" }, imageCanvas(point), facts));
  for (const side of data.sides) {
    const predicted = categoryName(side, "predicted", point);
    const verdict = categoryName(side, "correct", point);
    details.append(make("h3", { textContent: data.sides.length > 1 ? side.name : "Nearest images" }));
    if (predicted !== null) {
      const words = `kNN predicts ${predicted}${verdict ? ` (${verdict})` : ""}`;
      details.append(make("p", { className: "soft", textContent: words }));
    }
    const list = make("ul", { className: "nearest" });
    neighboursOf(side, point).forEach((other, place) => {
      const similarity = (side.similarity[point * side.perPoint + place] / 10000).toFixed(3);
      const name = categoryName(side, "class", other);
      const button = make("button", { type: "button", title: `${fileOf(other)}${name === null ? "" : `, ${name}`}` });
      button.append(imageCanvas(other), similarity);
      if (side.categories[state.colour]) {
        button.style.borderColor = colourOf(state.colour, side.categories[state.colour].codes[other]);
      }
      button.addEventListener("click", () => pin(other));
      list.append(make("li", {}, button));
    });
    details.append(list);
  }
}

const tip = document.body.appendChild(make("div", { id: "tip", hidden: true }));

function hover(point, event) {
  if (event.pointerType === "touch") point = -1;
  tip.hidden = point < 0;
  if (point >= 0) {
    const flip = event.clientX > window.innerWidth - 200;
    tip.style.left = flip ? "auto" : `${event.clientX + 16}px`;
    tip.style.right = flip ? `${window.innerWidth - event.clientX + 16}px` : "auto";
    tip.style.top = `${Math.min(event.clientY + 12, window.innerHeight - 150)}px`;
  }
  if (point === state.hovered) return;
  state.hovered = point;
  if (point >= 0) {
    const name = categoryName(data.sides[0], "class", point);
    tip.replaceChildren(imageCanvas(point), name ?? fileOf(point));
  }
  showPoint();
}

function pin(point) {
  state.pinned = point;
  state.hovered = -1;
  tip.hidden = true;
  showPoint();
}

function showPoint() {
  showDetails();
  for (const plot of plots) plot.drawMarks();
}

// ---- Legend, search and selection ------------------------------------------------------------------------

const LISTED = 200; // categories in the legend

function showLegend() {
  const titles = { class: "Class", group: "Group", cluster: "Cluster", correct: "kNN", predicted: "Predicted class" };
  element("legend-title").textContent = titles[state.colour] || "Legend";
  const entries = legendEntries();
  const matching = entries.filter(([, name]) => !state.query || (name ?? "").toLowerCase().includes(state.query));
  const listed = matching.length ? matching : entries;
  element("legend").replaceChildren(...listed.slice(0, LISTED).map(([code, name, numbers]) => {
    const box = make("input", { type: "checkbox", checked: !state.hidden.has(name) });
    box.addEventListener("change", () => {
      if (box.checked) state.hidden.delete(name);
      else state.hidden.add(name);
      recolour();
    });
    const swatch = make("i");
    swatch.style.background = colourOf(state.colour, code);
    const text = make("span", { textContent: name ?? "unlabelled" });
    return make("li", {}, make("label", {}, box, swatch, text, numbers.join(" / ")));
  }));
  if (listed.length > LISTED) element("legend").append(make("li", { textContent: `and ${listed.length - LISTED} more` }));
}

function search() {
  state.query = element("search").value.trim().toLowerCase();
  state.matching = state.query ? new Uint8Array(count) : null;
  const contains = text => text.toLowerCase().includes(state.query);
  const hits = Object.values(shared).map(found => found.names.map(contains));
  for (let point = 0; state.matching && point < count; point++) {
    const named = Object.values(shared).some((found, place) => hits[place][found.codes[point]]);
    state.matching[point] = named || (data.files && contains(data.files[point])) ? 1 : 0;
  }
  showLegend();
  showSelection();
  redraw();
}

function showSelection() {
  const matches = state.matching ? `, ${state.matching.reduce((sum, one) => sum + one, 0)} match the search` : "";
  const selected = state.selectedCount ? `, ${state.selectedCount} selected` : "";
  element("summary").textContent = `${data.source}, ${count} images of the split ${data.split}${matches}${selected}`;
  element("clear").disabled = element("save").disabled = !state.selectedCount;
  element("save").textContent = state.selectedCount ? `Save ${state.selectedCount} ids` : "Save ids";
}

function clearSelection() {
  state.selected.fill(0);
  state.selectedCount = 0;
  showSelection();
  redraw();
}

/** A cell of a CSV file; a text that a spreadsheet would run as a formula is prefixed with an apostrophe. */
function csvCell(value) {
  let text = String(value ?? "");
  if (/^[=+\-@\t\r]/.test(text) && !/^-?[\d.]+$/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** CSV of the selected points: row of the split, file, class and group. */
function selectionCsv() {
  const columns = [["index", point => rows[point]]];
  if (data.files) columns.push(["file", point => data.files[point]]);
  for (const key of Object.keys(shared)) columns.push([key, point => categoryName(data.sides[0], key, point)]);
  const lines = [columns.map(([name]) => name)];
  state.selected.forEach((one, point) => one && lines.push(columns.map(([, value]) => csvCell(value(point)))));
  return lines.map(line => line.join(",") + "\r\n").join("");
}

function saveSelection() {
  const address = URL.createObjectURL(new Blob([selectionCsv()], { type: "text/csv" }));
  make("a", { href: address, download: `${data.split}_selection.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// ---- Page ------------------------------------------------------------------------------------------------

let drawn = 0; // request of the next frame

function redraw() {
  if (drawn) return;
  drawn = requestAnimationFrame(() => {
    drawn = 0;
    for (const plot of plots) plot.draw();
  });
}

function recolour() {
  for (const plot of plots) plot.prepare();
  showLegend();
  delete element("details").dataset.point;
  showDetails();
  redraw();
}

function reproject() {
  for (const plot of plots) plot.load();
  for (const plot of plots) plot.fit();
}

function chooseTool(lasso) {
  state.lasso = lasso;
  element("lasso").setAttribute("aria-pressed", lasso);
  element("move").setAttribute("aria-pressed", !lasso);
  for (const plot of plots) plot.box.classList.toggle("lassoing", lasso);
}

const NAMES = { pca: "PCA", tsne: "t-SNE", umap: "UMAP", correct: "kNN right or wrong", predicted: "predicted class" };
const option = key => make("option", { value: key, textContent: NAMES[key] || key });
const plots = data.sides.map((side, index) => new Plot(side, index));

element("projection").append(...Object.keys(data.sides[0].projections).map(option));
element("projection").value = state.projection;
element("projection").addEventListener("change", event => {
  state.projection = event.target.value;
  reproject();
});
element("colour").append(...[...Object.keys(data.sides[0].categories), "none"].map(option));
element("colour").value = state.colour;
element("colour").addEventListener("change", event => {
  state.colour = event.target.value;
  state.hidden.clear();
  recolour();
});
element("search").addEventListener("input", search);
element("move").addEventListener("click", () => chooseTool(false));
element("lasso").addEventListener("click", () => chooseTool(true));
element("fit").addEventListener("click", () => plots.forEach(plot => plot.fit()));
element("clear").addEventListener("click", clearSelection);
element("save").addEventListener("click", saveSelection);
element("show-all").addEventListener("click", () => {
  state.hidden.clear();
  recolour();
});
element("show-none").addEventListener("click", () => {
  state.hidden = new Set(legendEntries().map(([, name]) => name));
  recolour();
});
document.addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  pin(-1);
  clearSelection();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
reproject();
recolour();
showSelection();
