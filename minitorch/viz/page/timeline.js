// The timeline: a row of bars for each thing that a process does, all processes below each other.

const data = JSON.parse(document.getElementById("data").textContent);
const get = id => document.getElementById(id);
const errors = [];
addEventListener("error", event => errors.push(event.message));

const LABELS = 118, LANE = 15, GAP = 3, HEAD = 21, AXIS = 22, NARROWEST = 100;  // pixels; ns
const canvas = get("canvas"), axis = get("axis"), tip = get("tip");
let view = {begin: 0, end: data.length};  // nanoseconds
let selected = null;  // {row, index}
let colour = {};

// Every row's place, from the top of the canvas.
const rows = [];
let height = 0;
for (const process of data.processes) {
  process.top = height;
  height += HEAD;
  for (const row of process.rows) {
    rows.push({...row, process, top: height});
    height += row.lanes * LANE + GAP;
  }
  height += 6;
}

function time(ns) {
  if (ns >= 1e9) return (ns / 1e9).toFixed(6) + " s";
  return ns >= 1e5 ? (ns / 1e6).toFixed(4) + " ms" : (ns / 1e3).toFixed(3) + " \u00b5s";
}
/* Three digits, for sums that nobody needs to the nanosecond. */
function about(ns) {
  const [unit, name] = ns >= 1e9 ? [1e9, "s"] : ns >= 1e6 ? [1e6, "ms"] : [1e3, "\u00b5s"];
  return `${Number((ns / unit).toPrecision(3))} ${name}`;
}
function size(bytes) {
  if (bytes >= 1e6) return (bytes / 1e6).toFixed(2) + " MB";
  return bytes >= 1e3 ? (bytes / 1e3).toFixed(1) + " kB" : bytes + " B";
}

// Drawing

const width = () => get("scroll").clientWidth;
let scale = 1;  // pixels per nanosecond: asking for the width once an event would be slow
const across = ns => LABELS + (ns - view.begin) * scale;

function sharpen(element, tall) {
  const ratio = devicePixelRatio || 1, wide = width();
  element.style.width = wide + "px";
  element.style.height = tall + "px";
  element.width = wide * ratio;
  element.height = tall * ratio;
  const pen = element.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.textBaseline = "middle";
  return pen;
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  const shade = name => style.getPropertyValue("--" + name).trim() || colour.program;
  colour = {program: style.getPropertyValue("--program").trim()};
  for (const name of ["ink", "faint", "paper", "panel", "line", "focus", ...data.kinds])
    colour[name] = shade(name);
  scale = (width() - LABELS) / (view.end - view.begin);
  const pen = sharpen(canvas, height);
  const ticks = drawAxis();
  pen.strokeStyle = colour.line;
  pen.globalAlpha = .45;
  for (const tick of ticks) {
    pen.beginPath(); pen.moveTo(across(tick), 0); pen.lineTo(across(tick), height); pen.stroke();
  }
  pen.globalAlpha = 1;
  for (const process of data.processes) drawHead(pen, process);
  let drawn = 0;
  for (const row of rows) drawn += drawRow(pen, row);
  canvas.dataset.recorded = data.count;
  canvas.dataset.drawn = drawn;
  showShare();
}

function drawAxis() {
  const pen = sharpen(axis, AXIS);
  const span = view.end - view.begin, about = span / Math.max(2, (width() - LABELS) / 110);
  const power = 10 ** Math.floor(Math.log10(about));
  const step = [1, 2, 5, 10].find(n => n * power >= about) * power;
  const unit = step >= 1e8 ? [1e9, "s"] : step >= 1e5 ? [1e6, "ms"] : [1e3, "\u00b5s"];
  const digits = Math.max(0, -Math.floor(Math.log10(step / unit[0]) + 1e-9));
  const ticks = [];
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = colour.faint;
  for (let t = Math.ceil(view.begin / step) * step; t <= view.end; t += step) {
    ticks.push(t);
    pen.fillText((t / unit[0]).toFixed(digits) + " " + unit[1], across(t) + 3, AXIS / 2);
    pen.fillRect(across(t), AXIS - 5, 1, 5);
  }
  pen.fillStyle = colour.line;
  pen.fillRect(0, AXIS - 1, width(), 1);
  return ticks;
}

function drawHead(pen, process) {
  pen.fillStyle = colour.panel;
  pen.fillRect(0, process.top, width(), HEAD - 3);
  pen.fillStyle = colour.ink;
  pen.font = "600 12px system-ui, sans-serif";
  pen.fillText(process.title, 8, process.top + HEAD / 2 - 1);
  const [hidden, exposed] = [process.hidden, process.exposed].map(within);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = colour.faint;
  const text = hidden + exposed ? `${about(hidden + exposed)} of communication, ` +
    `${Math.round(100 * hidden / (hidden + exposed))}% hidden, ${about(exposed)} waited for`
    : "no communication in view";
  pen.fillText(text, LABELS, process.top + HEAD / 2 - 1);
}

function drawRow(pen, row) {
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = colour.faint;
  pen.fillText(row.title, 14, row.top + LANE / 2);
  pen.save();
  pen.beginPath(); pen.rect(LABELS, row.top - 1, width() - LABELS, row.lanes * LANE + 2); pen.clip();
  const last = {};  // lane and kind -> the pixel up to which something stands there already
  const right = width();
  let drawn = 0;
  for (const event of row.events) {
    const start = event[0], length = event[1];
    if (start > view.end || start + length < view.begin) continue;
    drawn++;
    const lane = event[2], kind = event[4], x = across(start), w = length * scale;
    const here = lane * data.kinds.length + kind;
    if (w < 1 && last[here] >= x) continue;  // no wider than a pixel that is full: thinned out
    const y = row.top + lane * LANE;
    pen.fillStyle = colour[data.kinds[kind]];
    if (length) pen.fillRect(x, y + 1, w > 3 ? w - .8 : Math.max(w, 1), LANE - 2);
    else drawMark(pen, data.kinds[kind], x, y);
    last[here] = Math.max(Math.floor(x) + 1, x + w);
    const shown = Math.min(x + w, right) - Math.max(x, LABELS);
    if (shown > 30) label(pen, shortName(event), Math.max(x, LABELS), y, shown);
    else if (data.kinds[kind] === "bucket") pen.fillText(shortName(event), x + 6, y + LANE / 2);
  }
  if (selected && selected.row === row) {
    const [start, length, lane] = row.events[selected.index], x = across(start);
    pen.strokeStyle = colour.focus;
    pen.lineWidth = 2;
    pen.strokeRect(x - 1, row.top + lane * LANE, Math.max(across(start + length) - x, 2) + 2, LANE);
  }
  pen.restore();
  return drawn;
}

/* AddmmBackward0 is an Addmm, and bucket 3 in the buckets' row a 3. */
function shortName(event) {
  const name = data.names[event[3]];
  return name.replace(/Backward\d*$/, "").replace(/^bucket /, "");
}

function drawMark(pen, kind, x, y) {
  if (kind === "bucket") {
    pen.beginPath();
    pen.moveTo(x - 4, y + 3); pen.lineTo(x + 4, y + 3); pen.lineTo(x, y + LANE - 3); pen.fill();
  } else if (kind === "send") pen.fillRect(x, y + 1, 1.5, LANE / 2 - 1);
  else if (kind === "receive") pen.fillRect(x, y + LANE / 2, 1.5, LANE / 2 - 1);
  else pen.fillRect(x, y + 1, 1.5, LANE - 2);
}

function label(pen, text, x, y, room) {
  const back = pen.fillStyle;
  pen.fillStyle = luminance(back) > .5 ? "#111a24" : "#ffffff";
  const fits = Math.floor((room - 6) / 6.2);
  if (text.length > fits) text = text.replace(/^\S+ (?=#)/, "");  // "all_reduce #3": #3 says more
  pen.fillText(text.length <= fits ? text : text.slice(0, fits - 1) + "\u2026", x + 3, y + LANE / 2 + .5);
  pen.fillStyle = back;
}
function luminance(hex) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255);
  return .3 * r + .59 * g + .11 * b;
}

// The numbers of what is in view

const within = intervals => intervals.reduce((sum, [begin, end]) =>
  sum + Math.max(0, Math.min(end, view.end) - Math.max(begin, view.begin)), 0);

function showShare() {
  let hidden = 0, exposed = 0;
  for (const process of data.processes) {
    hidden += within(process.hidden);
    exposed += within(process.exposed);
  }
  const all = hidden + exposed;
  get("share").textContent = all ? Math.round(100 * hidden / all) + "%" : "\u2013";
  get("share-text").textContent = all
    ? `of the communication in view is hidden (${about(all / data.processes.length)} a process)`
    : "no communication in view";
}

// Moving

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}
function look(begin, end) {
  const span = Math.min(Math.max(end - begin, NARROWEST), data.length);
  begin = Math.min(Math.max(begin, 0), data.length - span);
  view = {begin, end: begin + span};
  redraw();
}
function zoom(factor, at = (view.begin + view.end) / 2) {
  look(at - (at - view.begin) * factor, at + (view.end - at) * factor);
}
function pan(share) {
  const by = share * (view.end - view.begin);
  look(view.begin + by, view.end + by);
}
function toBackward(forwards) {
  const middle = (view.begin + view.end) / 2, slack = 1e-6 * data.length;
  const centre = ([begin, end]) => (begin + end) / 2;
  const there = data.backwards.filter(pass => forwards
    ? view.end - view.begin >= data.length || centre(pass) > middle + slack
    : centre(pass) < middle - slack);
  if (!there.length) return;
  const [begin, end] = forwards ? there[0] : there[there.length - 1];
  const margin = .06 * (end - begin);
  look(begin - margin, end + margin);
}
const timeAt = x => view.begin + (x - LABELS) / (width() - LABELS) * (view.end - view.begin);

get("in").onclick = () => zoom(.5);
get("out").onclick = () => zoom(2);
get("all").onclick = () => look(0, data.length);
get("previous").onclick = () => toBackward(false);
get("following").onclick = () => toBackward(true);
get("previous").disabled = get("following").disabled = !data.backwards.length;

canvas.addEventListener("wheel", event => {
  event.preventDefault();
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
    pan((event.deltaX || event.deltaY) / 1000);
  else zoom(1.0018 ** event.deltaY, timeAt(event.offsetX));
}, {passive: false});

let drag = null;
canvas.addEventListener("pointerdown", event => {
  drag = {x: event.clientX, y: event.clientY, view, top: get("scroll").scrollTop, moved: false};
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", event => {
  if (!drag) return showTip(event);
  const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
  if (Math.abs(dx) + Math.abs(dy) < 4 && !drag.moved) return;
  drag.moved = true;
  tip.hidden = true;
  canvas.classList.add("dragging");
  const by = -dx / (width() - LABELS) * (drag.view.end - drag.view.begin);
  look(drag.view.begin + by, drag.view.end + by);
  get("scroll").scrollTop = drag.top - dy;
});
addEventListener("pointerup", event => {
  if (drag && !drag.moved) select(eventAt(event.offsetX, event.offsetY));
  drag = null;
  canvas.classList.remove("dragging");
});
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
canvas.addEventListener("dblclick", event => zoom(.4, timeAt(event.offsetX)));

const keys = {
  ArrowLeft: () => pan(-.2), ArrowRight: () => pan(.2),
  ArrowUp: () => get("scroll").scrollBy(0, -60), ArrowDown: () => get("scroll").scrollBy(0, 60),
  "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1 / .6), 0: () => look(0, data.length),
  n: () => toBackward(true), p: () => toBackward(false), ".": () => neighbour(1),
  ",": () => neighbour(-1),
};

// What an event is

function eventAt(x, y) {
  const row = rows.find(row => y >= row.top && y < row.top + row.lanes * LANE);
  if (!row || x < LABELS) return null;
  const lane = Math.floor((y - row.top) / LANE), at = timeAt(x);
  const slack = 4 * (view.end - view.begin) / (width() - LABELS);
  let best = null, nearest = slack;
  row.events.forEach(([start, length, inLane], index) => {
    if (inLane !== lane) return;
    const distance = Math.max(start - at, at - start - length, 0);
    if (distance <= nearest) { nearest = distance; best = {row, index}; }
  });
  return best;
}

function describe({row, index}) {
  const [start, length, , name, kind, details] = row.events[index];
  const words = Object.entries(details).map(([key, value]) =>
    key === "bytes" ? size(value) : `${key} ${Array.isArray(value) ? `(${value})` : value}`);
  return [
    `${data.names[name]}  \u00b7  ${data.kinds[kind]}  \u00b7  ${row.process.title}`,
    length ? `${time(length)}, from ${time(start)} to ${time(start + length)}` : `at ${time(start)}`,
    words.join(", "),
  ].filter(Boolean);
}

function showTip(event) {
  const found = eventAt(event.offsetX, event.offsetY);
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = describe(found).join("\n");
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6) + "px";
  const below = event.clientY + 18 + tip.offsetHeight < innerHeight;
  tip.style.top = (below ? event.clientY + 16 : event.clientY - tip.offsetHeight - 8) + "px";
}

function select(found) {
  selected = found;
  get("selected").textContent = found ? describe(found).join("   \u2014   ")
    : "Wheel: zoom. Drag: move. Click: an event's details here.";
  redraw();
}

function neighbour(by) {
  if (!selected) {
    const row = rows.find(row => row.events.some(([start]) => start >= view.begin));
    return row && select({row, index: row.events.findIndex(([start]) => start >= view.begin)});
  }
  const {row, index} = selected, event = row.events[index + by];
  if (!event) return;
  select({row, index: index + by});
  const [start, length] = event;
  if (start < view.begin || start + length > view.end) {
    const half = Math.max((view.end - view.begin) / 2, length);
    look(start + length / 2 - half, start + length / 2 + half);
  }
}

get("legend").innerHTML = data.kinds.filter(kind => kind !== "message").map(kind =>
  `<span><i style="background: var(--${kind}, var(--program))"></i>${kind}</span>`).join("");
get("about").textContent = data.about;
for (const note of data.notes) {
  const item = document.createElement("li");
  item.textContent = note;
  get("notes").append(item);
}
