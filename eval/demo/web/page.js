"use strict";
// What a person typed enters the page as text alone (textContent), never as HTML.

const byId = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(1)} %`;

function element(tag, kind, ...children) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

async function request(path, said) {
  let response;
  try {
    response = await fetch(path, said && {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(said),
    });
  } catch {
    throw new Error("the server does not answer; has it been ended?");
  }
  const found = await response.json().catch(() => ({ error: `the server failed (${response.status})` }));
  if (!response.ok) throw new Error(found.error);
  return found;
}

// Runs what a form asks for once the run is known, its button idle meanwhile; a mistake is said below the form.
function onSubmit(form, error, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    error.textContent = "";
    button.disabled = true;
    form.setAttribute("aria-busy", "true");
    try {
      await loaded;
      await work();
    } catch (problem) {
      error.textContent = sentence(problem.message);
    }
    button.disabled = false;
    form.removeAttribute("aria-busy");
  });
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

// ---- one text, or two

let run = null;
let asked = null; // the texts that the answers and the picture are of

function answerCard(answer) {
  const head = element("div", "head", element("h3", "", answer.task), element("span", "quiet", answer.of));
  if (answer.kind === "similarity") {
    const share = Math.min(1, Math.max(0, answer.score / answer.highest));
    const bars = element("ul", "bars", barOf(`score, 0 to ${answer.highest}`, share, answer.score.toFixed(2), true));
    return element("article", "answer", head, element("p", "words", answer.words), bars);
  }
  const bars = element("ul", "bars", ...answer.labels.map((each) =>
    barOf(each.words, each.probability, percent(each.probability), each.label === answer.label)));
  return element("article", "answer", head, element("p", "words", answer.words), bars);
}

function barOf(words, share, value, best) {
  const fill = element("span", "");
  fill.style.width = `${100 * share}%`;
  const bar = element("span", "bar", fill);
  return element("li", best ? "best" : "", element("span", "", words), bar, element("span", "value", value));
}

function textsTyped() {
  const second = byId("second").value;
  return run.pair.length && second.trim() ? [byId("first").value, second] : [byId("first").value];
}

async function ask() {
  const texts = textsTyped();
  byId("answers").replaceChildren(); // those of another text would stand beside a mistake in this one
  byId("attention").hidden = true;
  const found = await request("answers", { texts });
  const cards = found.answers.map(answerCard);
  if (texts.length === 1 && run.pair.length) {
    cards.push(element("p", "quiet whole", `With a second text, ${run.pair.join(" and ")} will answer as well.`));
  }
  if (found.cut) cards.push(element("p", "quiet whole", "The text was too long for the model and has been cut."));
  byId("answers").replaceChildren(...cards);
  asked = texts;
  picture.row = -1; // a new text: its strongest cell is read out first
  const names = texts.length === 2 && !run.joint ? ["first", "second"] : [texts.length === 2 ? "both" : "the text"];
  fillSelect(byId("which"), names);
  byId("which-choice").hidden = names.length === 1;
  byId("attention").hidden = false;
  await showAttention();
}

// ---- attention

const picture = { tokens: [], weights: [], cell: 0, left: 0, top: 0, row: 0, column: 0 };
let latest = 0;

function fillSelect(select, names) {
  const kept = Math.min(Math.max(select.selectedIndex, 0), names.length - 1);
  select.replaceChildren(...names.map((name) => element("option", "", name)));
  select.selectedIndex = kept;
}

async function showAttention() {
  const mine = ++latest;
  const [which, layer, head] = ["which", "layer", "head"].map((id) => byId(id).selectedIndex);
  byId("attention-error").textContent = "";
  try {
    const found = await request("attention", { texts: asked, which, layer, head });
    if (mine !== latest) return; // another layer has been chosen since
    Object.assign(picture, found);
    if (picture.row < 0 || Math.max(picture.row, picture.column) >= found.tokens.length) findStrongest();
    byId("map").setAttribute("aria-label", `Attention of each of ${found.tokens.length} tokens, ` +
      `layer ${layer + 1}, head ${head + 1}; arrow keys read it out`);
    draw();
  } catch (problem) {
    byId("attention-error").textContent = sentence(problem.message);
  }
}

function findStrongest() {
  const highest = picture.weights.map((row) => Math.max(...row));
  picture.row = highest.indexOf(Math.max(...highest));
  picture.column = picture.weights[picture.row].indexOf(highest[picture.row]);
}

function draw() {
  const { tokens, weights } = picture;
  if (!tokens.length) return;
  const canvas = byId("map"), ink = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const font = '12px ui-monospace, "DejaVu Sans Mono", monospace';
  ink.font = font;
  const labelled = tokens.length <= 128;
  const widest = labelled ? Math.min(110, Math.max(...tokens.map((token) => ink.measureText(token).width))) + 8 : 0;
  const room = canvas.parentElement.clientWidth - widest - 2;
  const cell = labelled ? Math.max(15, Math.min(34, Math.floor(room / tokens.length))) : 4;
  Object.assign(picture, { cell, left: widest, top: widest });
  const size = widest + cell * tokens.length + 1;
  const scale = labelled ? Math.min(window.devicePixelRatio || 1, 2) : 1;
  canvas.width = canvas.height = Math.ceil(size * scale);
  canvas.style.width = canvas.style.height = `${size}px`;
  ink.setTransform(scale, 0, 0, scale, 0, 0);
  ink.font = font;
  ink.textBaseline = "middle";
  const strongest = Math.max(...weights.map((row) => Math.max(...row)));
  weights.forEach((row, r) => row.forEach((weight, c) => {
    ink.fillStyle = color("--track");
    ink.globalAlpha = 0.45;
    const gap = labelled ? 1 : 0;
    ink.fillRect(widest + c * cell, widest + r * cell, cell - gap, cell - gap);
    ink.globalAlpha = weight / strongest;
    ink.fillStyle = color("--accent");
    ink.fillRect(widest + c * cell, widest + r * cell, cell - gap, cell - gap);
  }));
  ink.globalAlpha = 1;
  if (labelled) {
    tokens.forEach((token, number) => {
      const middle = widest + (number + 0.5) * cell;
      const label = token.length > 14 ? `${token.slice(0, 13)}…` : token;
      ink.fillStyle = color("--ink");
      ink.textAlign = "right";
      ink.fillText(label, widest - 6, middle);
      ink.save();
      ink.translate(middle, widest - 6);
      ink.rotate(-Math.PI / 2);
      ink.textAlign = "left";
      ink.fillText(label, 0, 0);
      ink.restore();
    });
  }
  ink.strokeStyle = color("--ink");
  ink.lineWidth = 1.5;
  ink.strokeRect(widest + picture.column * cell, widest + picture.row * cell, cell - 1, cell - 1);
  const { row, column } = picture;
  byId("readout").textContent = `“${tokens[row]}” gives ${percent(weights[row][column])} of its attention to ` +
    `“${tokens[column]}”. The strongest cell is ${percent(strongest)}.`;
}

function moveTo(row, column) {
  const last = picture.tokens.length - 1;
  picture.row = Math.min(last, Math.max(0, row));
  picture.column = Math.min(last, Math.max(0, column));
  draw();
}

byId("map").addEventListener("keydown", (event) => {
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!steps) return;
  event.preventDefault();
  moveTo(picture.row + steps[0], picture.column + steps[1]);
});
byId("map").addEventListener("pointermove", (event) => {
  const row = Math.floor((event.offsetY - picture.top) / picture.cell);
  const column = Math.floor((event.offsetX - picture.left) / picture.cell);
  const inside = (number) => number >= 0 && number < picture.tokens.length;
  if (inside(row) && inside(column) && (row !== picture.row || column !== picture.column)) moveTo(row, column);
});
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// ---- many texts

let answered = null;

async function askAll() {
  const found = await request("table", { lines: byId("lines").value });
  answered = found;
  const texts = found.columns.filter((name) => name.endsWith("text")).length;
  const cell = (value, number) =>
    element("td", number < texts ? "text" : typeof value === "number" ? "number" : "", String(value));
  const heads = found.columns.map((name) => {
    const head = element("th", "", name);
    head.scope = "col";
    return head;
  });
  const body = found.rows.map((row) => element("tr", "", ...row.map(cell)));
  const table = element("table", "", element("thead", "", element("tr", "", ...heads)), element("tbody", "", ...body));
  byId("table").replaceChildren(table);
  byId("table").hidden = false;
  byId("done").textContent = `${found.rows.length} answered` +
    (found.cut ? `; ${found.cut} too long for the model, and cut.` : ".");
  byId("csv").hidden = byId("tsv").hidden = false;
}

const quoted = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

function download(name, kind, rows) {
  const link = element("a", "");
  link.href = URL.createObjectURL(new Blob([rows.map((row) => `${row}\r\n`).join("")], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

byId("csv").addEventListener("click", () =>
  download("answers.csv", "text/csv", [answered.columns, ...answered.rows].map((row) => row.map(quoted).join(","))));
byId("tsv").addEventListener("click", () =>
  download("answers.tsv", "text/tab-separated-values", [answered.columns, ...answered.rows].map((row) => row.join("\t"))));

// ---- start

onSubmit(byId("ask"), byId("ask-error"), ask);
onSubmit(byId("paste"), byId("paste-error"), askAll);
for (const id of ["which", "layer", "head"]) byId(id).addEventListener("change", showAttention);
byId("choose").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["first", "second", "lines"]) {
  byId(id).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
  });
}

const loaded = request("run").then((found) => {
  run = found;
  byId("about").textContent =
    `${run.run} · ${run.checkpoint} · ${[...run.single, ...run.pair].join(", ")} · ${run.layers} layers of ${run.heads} heads`;
  document.title = `${run.run} · try a run`;
  const most = run.limits.text.toLocaleString("en");
  byId("limit").textContent = `Ctrl+Enter answers as well. A text has ${most} characters at most.`;
  byId("lines-limit").textContent = `${run.limits.lines} lines and ` +
    `${run.limits.paste.toLocaleString("en")} characters at most.`;
  if (!run.pair.length) {
    byId("second").parentElement.hidden = true;
    document.querySelector(".texts").classList.add("alone");
  }
  fillSelect(byId("layer"), Array.from({ length: run.layers }, (_, number) => String(number + 1)));
  fillSelect(byId("head"), Array.from({ length: run.heads }, (_, number) => String(number + 1)));
});
loaded.catch((problem) => { byId("about").textContent = sentence(problem.message); });
