// Chunks, step by step: the ranks in a circle, what travels in a round, who holds what after it.

let call = null, states = [], now = 0, playing = null;
const PLAY_MS = 1100;

const letter = block => block < 26 ? String.fromCharCode(97 + block) : "a" + letter(block - 26);
const reducing = () => ["all_reduce", "reduce_scatter"].includes(call.op);
const isWhole = held => reducing() ? held.length === call.members.length : held.length > 0;
const hue = block => Math.round(360 * block / Math.max(call.blocks.length - 1, 1) + 205) % 360;
const fill = (block, held) => {
  const share = isWhole(held) ? 1 : .16 + .6 * held.length / call.members.length;
  return `hsl(${hue(block)} 55% 48% / ${held.length ? share : 0})`;
};

function choose(index) {
  stop();
  call = data.collectives[index];
  get("call").value = index;
  states = [call.start.map(row => row.map(i => data.shares[i]))];
  for (const moves of call.rounds) {
    const next = states[states.length - 1].map(row => [...row]);
    for (const move of moves)
      move.after.forEach((held, i) => {
        next[call.members.indexOf(move.target)][move.first + i] = data.shares[held];
      });
    states.push(next);
  }
  get("slider").max = call.rounds.length;
  go(0);
}

function go(to) {
  if (!call) return;
  now = Math.min(Math.max(to, 0), call.rounds.length);
  if (now === call.rounds.length) stop();
  get("slider").value = now;
  get("position").textContent = `round ${now} of ${call.rounds.length}`;
  get("back").disabled = get("first").disabled = now === 0;
  get("next").disabled = now === call.rounds.length;
  drawTable();
  drawCircle();
  tellMoves();
  remember();
}

function play() {
  if (playing) return stop();
  if (now === call.rounds.length) go(0);
  playing = setInterval(() => go(now + 1), PLAY_MS);
  get("play").textContent = "\u23f8 Pause";
}
function stop() {
  clearInterval(playing);
  playing = null;
  get("play").innerHTML = "&#9654; Play";
}

const blocksOf = ({first, last}) =>
  first === last ? letter(first) : `${letter(first)}\u2013${letter(last)}`;

function drawTable() {
  const few = call.members.length <= 4;  // then sums are written out
  const text = (block, held) => {
    if (!held.length) return "\u2013";
    if (!reducing() || isWhole(held)) return letter(block);
    if (few) return held.map(rank => letter(block) + rank).join("+");
    return held.length === 1 ? letter(block) + held[0] : `${held.length}\u2211`;
  };
  const columns = call.blocks.slice(1).map((_, block) => block);
  const head = columns.map(block =>
    `<th title="${size(call.blocks[block + 1] - call.blocks[block])}">${letter(block)}</th>`);
  const body = call.members.map((rank, i) => `<tr><th>rank ${rank}</th>` + columns.map(block => {
    const held = states[now][i][block];
    const before = states[Math.max(now - 1, 0)][i][block];
    const classes = `${isWhole(held) ? "whole" : ""} ${held !== before ? "changed" : ""}`;
    const title = held.length ? "shares of rank " + held.join(", ") : "nothing";
    return `<td class="${classes}" style="background:${fill(block, held)}" title="${title}">` +
      `${text(block, held)}</td>`;
  }).join("") + "</tr>");
  const table = get("holds");
  table.className = columns.length > 9 ? "wide" : "";
  table.innerHTML = `<tr><th></th>${head.join("")}</tr>${body.join("")}`;
  const cells = states[now].flat();
  table.dataset.whole = cells.filter(isWhole).length;
  table.dataset.cells = cells.length;
  const whole = letter(0), parts = call.members.length > 1 && reducing()
    ? ` ${whole}${call.members[0]} is rank ${call.members[0]}'s share of block ${whole}; ` +
      `${few ? "" : `5\u2211 is a sum of 5 shares, `}${whole} alone the total over all ranks.` : ` \u2013 is what a rank has not got yet.`;
  get("key").textContent = `Blocks of ${size(call.blocks[1])}: ${letter(0)} to ` +
    `${letter(columns.length - 1)}.${parts}`;
}

function tellMoves() {
  const moves = now ? call.rounds[now - 1] : [];
  const done = now === call.rounds.length ? " This is the end." : "";
  get("sentence").textContent = now
    ? `Round ${now}: ${moves.length} transfers, ${size(moves.reduce((n, m) => n + m.bytes, 0))}, ` +
      `from ${time(Math.min(...moves.map(m => m.sent)))} to ` +
      `${time(Math.max(...moves.map(m => m.received)))}.${done}`
    : `Before the first round: ${call.op}, ${size(call.bytes)}, ${call.members.length} ranks.`;
  get("moves").replaceChildren(...moves.map(move => {
    const item = document.createElement("li");
    const how = move.combined ? "combined" : "copied";
    item.textContent = `rank ${move.source} \u2192 rank ${move.target}: ${blocksOf(move)}, ` +
      `${size(move.bytes)}${move.messages > 1 ? ` in ${move.messages} chunks` : ""}, ${how}; ` +
      `sent at ${time(move.sent)}, there after ${time(move.received - move.sent)}`;
    return item;
  }));
}

// The circle: 720 x 560 units, scaled to the room there is.

function drawCircle() {
  const count = call.members.length, blocks = call.blocks.length - 1;
  const wide = Math.max(64, Math.min(112, 640 / count)), tall = 44;
  const place = call.members.map((_, i) => {
    const angle = 2 * Math.PI * i / count - Math.PI / 2;
    return [360 + 288 * Math.cos(angle), 280 + 236 * Math.sin(angle)];
  });
  const nodes = call.members.map((rank, i) => {
    const [x, y] = place[i], cell = (wide - 12) / blocks;
    const bar = states[now][i].map((held, block) =>
      `<rect x="${x - wide / 2 + 6 + block * cell}" y="${y + 1}" width="${Math.max(cell - .8, .8)}" ` +
      `height="13" fill="${fill(block, held)}" stroke="hsl(${hue(block)} 45% 50%)" ` +
      `stroke-width=".8"><title>rank ${rank}, block ${letter(block)}: ` +
      `${held.length ? "shares of rank " + held.join(", ") : "nothing"}</title></rect>`);
    return `<rect class="node" x="${x - wide / 2}" y="${y - tall / 2}" width="${wide}" ` +
      `height="${tall}" rx="7"/><text class="rank" x="${x}" y="${y - 6}">rank ${rank}</text>` +
      bar.join("");
  });
  const ways = (now ? call.rounds[now - 1] : []).map((move, i) => {
    const [from, to] = [move.source, move.target].map(rank => place[call.members.indexOf(rank)]);
    return way(move, from, to, wide, tall, i);
  });
  get("circle").innerHTML =
    `<svg viewBox="0 0 720 560" role="img" aria-label="the ranks in a circle">${nodes.join("")}` +
    `${ways.join("")}<text class="title" x="10" y="24">${call.name}` +
    `</text><text class="title" x="10" y="44">${get("position").textContent}</text></svg>`;
}

/* An arrow, bent to its right, so that two that cross each other's way can be told apart. */
function way(move, from, to, wide, tall, number) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]], far = Math.hypot(dx, dy);
  const bend = Math.min(24, far / 6);
  const middle = [(from[0] + to[0]) / 2 - dy / far * bend, (from[1] + to[1]) / 2 + dx / far * bend];
  const start = edge(from, middle, wide, tall, 3), end = edge(to, middle, wide, tall, 7);
  const chip = [0, 1].map(i => start[i] / 4 + middle[i] / 2 + end[i] / 4);
  const shade = `hsl(${hue(move.first)} 55% 45%)`, text = blocksOf(move);
  const w = 10 + 6.4 * text.length;
  return `<defs><marker id="tip${number}" viewBox="0 0 8 8" refX="5" refY="4" markerWidth="6" ` +
    `markerHeight="6" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="${shade}"/></marker></defs>` +
    `<path class="way" stroke="${shade}" marker-end="url(#tip${number})" ` +
    `d="M${start} Q${middle} ${end}"/>` +
    `<g class="chip" style="--dx:${start[0] - chip[0]}px;--dy:${start[1] - chip[1]}px">` +
    `<rect x="${chip[0] - w / 2}" y="${chip[1] - 9}" width="${w}" height="18" rx="9" ` +
    `fill="${shade}"/><text x="${chip[0]}" y="${chip[1] + 4}">${text}</text></g>`;
}
/* Where the line from a node's centre towards a point leaves the node, and a little further. */
function edge([x, y], [toX, toY], wide, tall, further) {
  const [dx, dy] = [toX - x, toY - y];
  const out = Math.min(wide / 2 / Math.abs(dx || 1e-9), tall / 2 / Math.abs(dy || 1e-9));
  const more = further / Math.hypot(dx, dy);
  return [x + dx * (out + more), y + dy * (out + more)];
}

get("call").replaceChildren(...data.collectives.map((c, i) => {
  const group = c.group ? `, group ${c.group}` : "";
  return new Option(`${c.name}${group}, ${size(c.bytes)}, at ${time(c.begin)}`, i);
}));
get("call").onchange = event => choose(+event.target.value);
get("slider").oninput = event => { stop(); go(+event.target.value); };
get("first").onclick = () => { stop(); go(0); };
get("back").onclick = () => { stop(); go(now - 1); };
get("next").onclick = () => { stop(); go(now + 1); };
get("play").onclick = play;

const chunkKeys = {
  ArrowLeft: () => get("back").click(), ArrowRight: () => get("next").click(),
  Home: () => get("first").click(), End: () => { stop(); go(call.rounds.length); }, " ": play,
};

// Which of the two views is seen. The address keeps the place: #chunks/<collective>/<round>.

function show(name) {
  for (const other of ["timeline", "chunks"]) {
    get(other).hidden = other !== name;
    get("tab-" + other).setAttribute("aria-selected", other === name);
  }
  if (name === "timeline") { stop(); redraw(); }
  remember();
}
function remember() {
  const chunks = !get("chunks").hidden;
  const at = chunks && call ? `#chunks/${data.collectives.indexOf(call)}/${now}` : "#timeline";
  history.replaceState(null, "", at);
}
get("tab-timeline").onclick = () => show("timeline");
get("tab-chunks").onclick = () => show("chunks");

addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const tag = event.target.tagName, chunks = !get("chunks").hidden;
  if (["INPUT", "SELECT"].includes(tag) || (tag === "BUTTON" && event.key === " ")) return;
  const action = (chunks ? call && chunkKeys : keys)?.[event.key];
  if (action) { event.preventDefault(); action(); }
});

const asked = location.hash.slice(1).split("/");
const reduction = data.collectives.findIndex(c => c.op === "all_reduce");
if (data.collectives.length)
  choose(Math.min(+(asked[1] || Math.max(reduction, 0)), data.collectives.length - 1) || 0);
else get("stage").textContent = "No collective of this recording can be replayed: " + data.whyNone;
if (!data.collectives.length)
  for (const button of ["first", "back", "play", "next", "call", "slider"]) get(button).disabled = true;
show(asked[0] === "chunks" ? "chunks" : "timeline");
if (asked[0] === "chunks" && asked[2]) go(+asked[2]);
select(null);
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
