"use strict";

// Everything that came in is put on the page as text, never as markup: append() makes text nodes of strings.
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const find = (id) => document.getElementById(id);
const counted = (number, one) => `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;
const clock = (moment) => moment.slice(11, 23);

// A record's leaves arrive as JSON text, so that a number is shown with the digits that were sent.
const plain = (leaf) => (leaf.startsWith('"') ? JSON.parse(leaf) : leaf);

const names = (objects) => [...new Set(objects.flatMap((object) => Object.keys(object)))];
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function table(columns, rows, kind) {
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)));
  const cell = (content, name) => make("td", { "data-name": name }, ...(content === "" ? [] : [make("div", {}, ...[content].flat())]));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((content, place) => cell(content, columns[place]))));
  return make("table", { class: kind }, make("thead", {}, head), make("tbody", {}, ...body));
}

// An order is personal data: whom it went to is shown on a click alone.
const personal = ["customer", "shipping"];

// An id is read as a whole, so it is not broken; one that is longer than a phone is wide has to be.
const isId = (name, text) => /(^id|Id|^sku)$/.test(name) && text.length <= 24;

function shown(name, value, path) {
  if (value === undefined) return "";
  if (personal.includes(name) && isObject(value)) {
    return unfolds(`${path}/${name}`, make("details", {}, make("summary", {}, "personal data"), ...shown("", value, path)));
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return make("span", { class: "soft" }, name === "lineItems" ? "none: cancelled" : "none");
    if (!value.every(isObject)) return value.map((held) => make("div", {}, ...[shown(name, held, path)].flat()));
    const columns = names(value);
    return table(columns, value.map((held) => columns.map((column) => shown(column, held[column], path))), "inner");
  }
  if (isObject(value)) return Object.keys(value).map((key) => make("div", {}, `${key} `, ...[shown(key, value[key], path)].flat()));
  const said = plain(value);
  const text = make("span", { class: isId(name, said) ? "value id" : "value" }, said);
  const isTime = /At$/.test(name) && /^\d{9,10}$/.test(value);
  if (!isTime) return text;
  const time = new Date(Number(value) * 1000).toISOString().slice(0, 19).replace("T", " ");
  return [text, make("span", { class: "soft" }, `${time} UTC`)];
}

// A record whose fields do not fit into one row of a table is a card: its own fields, then each of its parts.
const MOST_COLUMNS = 9;
const LINES = 3;
const isNested = (value) => isObject(value) || (Array.isArray(value) && value.length > 0 && value.every(isObject));
const columnsOf = (objects) => names(objects).reduce((sum, name) => {
  const inner = objects.flatMap((object) => object[name] ?? []).filter(isObject);
  return sum + (inner.length ? columnsOf(inner) : 1);
}, 0);

// What was unfolded stays so when the page is drawn anew.
const unfolded = new Set();

function unfolds(path, element) {
  element.open = unfolded.has(path);
  element.addEventListener("toggle", () => (element.open ? unfolded.add(path) : unfolded.delete(path)));
  return element;
}

// A long name may be broken where a word of it begins.
const spelled = (name) => name.split(/(?=[A-Z])/).flatMap((word) => [word, make("wbr")]);

function card(path, record, first = []) {
  const all = [...new Set([...first, ...Object.keys(record)])];
  const own = all.filter((name) => !isNested(record[name]));
  const field = (name) => make("div", {}, make("dt", {}, ...spelled(name)), make("dd", {}, ...[shown(name, record[name], path)].flat()));
  const parts = all.filter((name) => isNested(record[name])).map((name) => part(`${path}/${name}`, name, record[name]));
  return [...(own.length ? [make("dl", { class: "fields" }, ...own.map(field))] : []), ...parts];
}

function part(path, name, value) {
  if (Array.isArray(value)) return make("div", { class: "part" }, make("h3", {}, name, make("span", { class: "soft" }, ` ${value.length}`)), lines(path, value));
  if (!personal.includes(name)) return make("div", { class: "part" }, make("h3", {}, name), ...card(path, value));
  const summary = make("summary", {}, make("h3", {}, name), make("span", { class: "soft" }, " personal data"));
  return unfolds(path, make("details", { class: "part" }, summary, ...card(path, value)));
}

function lines(path, all) {
  const objects = unfolded.has(path) ? all : all.slice(0, LINES);
  const nested = names(all).filter((name) => all.some((object) => Array.isArray(object[name]) || isObject(object[name])));
  const columns = names(all).filter((name) => !nested.includes(name));
  const cell = (object, name) => object[name] === undefined ? make("td") : make("td", {},
    make("div", { class: "label soft" }, ...spelled(name)),
    make("div", { class: `${object[name]}`.length > 16 ? "text" : "" }, ...[shown(name, object[name], path)].flat()));
  const inner = (object) => nested.filter((name) => [object[name]].flat().some((held) => held !== undefined));
  const rows = objects.flatMap((object) => [
    make("tr", {}, ...columns.map((name) => cell(object, name))),
    ...(inner(object).length ? [make("tr", { class: "more" }, make("td", { colspan: columns.length }, ...inner(object).flatMap((name) => pairs(name, object[name]))))] : []),
  ]);
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, ...spelled(name))));
  const held = make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": path },
    make("table", { class: "lines" }, make("thead", {}, head), make("tbody", {}, ...rows)));
  if (objects.length === all.length) return held;
  const more = make("button", { type: "button" }, `Show all ${all.length}`);
  more.addEventListener("click", () => { unfolded.add(path); show(JSON.parse(last)); });
  return make("div", {}, held, more);
}

// What a line holds below its own fields, such as its taxes: one row of names and values for each.
function pairs(name, value) {
  const all = [value].flat(Infinity);
  const row = (...content) => make("div", { class: "pairs" }, make("span", { class: "soft" }, name), ...content);
  const inside = (object) => Object.entries(object).map(([key, held]) =>
    make("div", {}, make("span", { class: "soft" }, `${key} `), ...[shown(key, held, "")].flat()));
  const leaves = all.filter((held) => !isObject(held)).map((held) => make("span", { class: "value" }, plain(held)));
  return [...(leaves.length ? [row(...leaves)] : []), ...all.filter(isObject).map((object) => row(...inside(object)))];
}

function stream({ name, held, refused, status }) {
  const figures = Object.entries(status).flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]);
  return make("section", { "data-stream": name, "aria-label": name },
    make("h2", {}, name),
    make("p", { class: "number" }, held.toLocaleString("en"), make("small", {}, " held"),
      ...(refused ? [make("small", { class: "bad" }, `, ${counted(refused, "refusal")}`)] : [])),
    make("p", { class: "soft note" }, "Status, as Klar gives it"),
    make("dl", {}, ...figures));
}

function records({ name, key, held, latest }) {
  const title = `${name}-title`;
  const columns = [...new Set([key, ...names(latest)])];
  const pathOf = (record) => `${name} ${plain(record[key])}`;
  let content = make("p", { class: "soft hint" }, held ? "None with this key." : "None yet.");
  if (columnsOf(latest) > MOST_COLUMNS) {
    content = make("div", { class: "cards" }, ...latest.map((record) => make("article", {}, ...card(pathOf(record), record, [key]))));
  } else if (latest.length) {
    content = table(columns, latest.map((record) => columns.map((column) => shown(column, record[column], pathOf(record)))), "rows");
  }
  const heading = make("h2", { id: title }, `Latest ${name}`);
  if (held > latest.length) heading.append(make("span", { class: "soft" }, ` (${latest.length} of ${held.toLocaleString("en")})`));
  return make("section", { "data-records": name, "aria-labelledby": title }, heading, content);
}

function refusals(refused) {
  if (refused.length === 0) return make("p", { class: "soft hint" }, "Nothing.");
  const value = (text, kind = "") => make("span", { class: `value ${kind}` }, text);
  const path = (text) => make("span", { class: "value" }, ...text.split(/(?<=\.)/).flatMap((step) => [step, make("wbr")]));
  const brief = (text) => make("span", { class: "brief" }, text);
  return table(["Key", "Stream", "Times", "Field", "Reason", "Sent", "Last (UTC)"], refused.map((entry) => [
    value(entry.key, isId("id", entry.key) ? "id" : ""), brief(entry.stream), `${entry.times}`, path(entry.path),
    make("span", { class: "bad" }, entry.message), value(entry.value, entry.value.length <= 24 ? "id" : ""), brief(clock(entry.moment))]), "rows");
}

// When the loads came, and what became of them: up to 60 bars from the first one to the last.
function picture(loads) {
  find("loads").hidden = loads.length < 2;
  if (loads.length < 2) return;
  const [first, last] = [loads[0][0], loads[loads.length - 1][0]];
  const bars = Array.from({ length: Math.min(60, loads.length) }, () => [0, 0]);
  for (const [moment, took] of loads) {
    const place = Math.min(bars.length - 1, Math.floor(((moment - first) / (last - first || 1)) * bars.length));
    bars[place][took ? 0 : 1] += 1;
  }
  const highest = Math.max(...bars.map(([took, failed]) => took + failed));
  const draw = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const svg = draw("svg", { viewBox: `0 0 ${bars.length} ${highest}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  bars.forEach(([took, failed], x) => {
    if (took) svg.append(draw("rect", { class: "took", x: x + 0.1, y: highest - took, width: 0.8, height: took }));
    if (failed) svg.append(draw("rect", { class: "failed", x: x + 0.1, y: highest - took - failed, width: 0.8, height: failed }));
  });
  const good = loads.filter(([, took]) => took).length;
  const time = (moment) => clock(new Date(moment).toISOString());
  find("loads").lastElementChild.textContent =
    `${counted(loads.length, "load")} from ${time(first)} to ${time(last)} UTC: ${good} accepted, ${loads.length - good} refused or failed`;
  find("loads").replaceChildren(svg, find("loads").lastElementChild);
}

function outcome(request) {
  if (request.end === "open") return "in flight";
  const said = [];
  if (request.status !== null) said.push(`${request.status}`);
  if (request.count !== null && request.stored > 0) said.push(`stored ${request.stored.toLocaleString("en")}`);
  if (request.end !== "answered") said.push(request.end);
  const text = said.join(", ");
  return request.status >= 400 || request.status === null ? make("span", { class: "bad" }, text) : text;
}

function requests({ latest }) {
  if (latest.length === 0) return make("p", { class: "soft hint" }, "None.");
  return table(["Time (UTC)", "Request", "Objects", "Answer", "Fault on request", "Seconds", "From"], latest.map((request) => [
    make("span", { class: "brief" }, clock(request.moment)), make("code", {}, `${request.method} ${request.path}`),
    request.count === null ? "" : request.count.toLocaleString("en"),
    outcome(request), request.fault ?? "", request.seconds === null ? "" : request.seconds.toFixed(3),
    request.user_agent]), "rows");
}

function show(overview) {
  const { total, in_flight: open, peak_in_flight: peak } = overview.requests;
  find("traffic").textContent = total === 0
    ? "No request yet. This page keeps itself up to date."
    : `${counted(total, "request")}, ${open || "none"} loading now, at most ${peak} at once. This page keeps itself up to date.`;
  find("hint").hidden = total > 0;
  const used = overview.streams.filter(({ held, refused, status }, place) => held > 0 || refused > 0 || status.lastFailure || place < 2);
  find("streams").replaceChildren(...used.map(stream));
  find("records").replaceChildren(...used.map(records));
  picture(overview.loads);
  find("refused").querySelector("div").replaceChildren(refusals(overview.refused));
  const more = overview.refused_keys - overview.refused.length;
  find("all").hidden = more === 0;
  find("all").textContent = `Show all ${overview.refused_keys} (${overview.refused.length} shown)`;
  find("requests").lastElementChild.replaceChildren(requests(overview.requests));
}

const wanted = {};
let last = "";
async function refresh() {
  try {
    const answer = await fetch(`/sandbox/overview?${new URLSearchParams(wanted)}`, { cache: "no-store" });
    const text = await answer.text();
    find("ended").hidden = true;
    // Nothing is drawn anew while nothing changes, so that a selection stays.
    if (text !== last) show(JSON.parse(text));
    last = text;
  } catch {
    find("ended").hidden = false;
  }
}

async function keepUp() {
  await refresh();
  setTimeout(keepUp, 1000);
}

find("clear").addEventListener("click", () => find("sure").showModal());
find("sure").addEventListener("close", async () => {
  if (find("sure").returnValue !== "clear") return;
  find("sure").returnValue = "";
  await fetch("/sandbox/held", { method: "DELETE" }).catch(() => {});
  await refresh();
});
find("find").addEventListener("input", () => {
  wanted.key = find("find").value;
  refresh();
});
find("all").addEventListener("click", () => {
  wanted.refused = "all";
  refresh();
});
find("address").textContent = location.origin;
keepUp();
