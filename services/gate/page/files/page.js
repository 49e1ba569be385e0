// The page is a client of the control API (docs/api.md). It writes text only as text.
"use strict";

const samples = 60;           // of a sparkline
const interval = 2000;        // ms between two samples
const lineLimit = 500;        // lines of logs that are shown
const eventLimit = 100;
const $ = (id) => document.getElementById(id);

const state = {
  role: "", services: [], usage: new Map(), last: null, rows: new Map(), busy: new Set(),
  log: null, paused: false, held: [], skew: 0, decided: null,
};

// make returns an element. Children are elements and texts.
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "path"].includes(name);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function setText(e, text) { if (e.textContent !== text) e.textContent = text; }

const may = (role) => ["reader", "operator", "admin"].indexOf(state.role) >= ["reader", "operator", "admin"].indexOf(role);

// get returns what the API answers, or throws why it does not.
async function get(path) { return answer(await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" })); }

async function answer(response) {
  const date = Date.parse(response.headers.get("Date"));
  if (date) state.skew = date - Date.now(); // The clock of the machine may be another.
  if (response.ok) return response.status === 204 ? null : response.json();
  let detail = `${response.status} ${response.statusText}`;
  try { detail = (await response.json()).detail || detail; } catch { /* it has no problem document */ }
  throw new Error(detail);
}

function problem(text) {
  $("problem").hidden = !text;
  setText($("problem"), text);
}

function connected(ok) {
  const badge = $("connection");
  badge.className = "badge " + (ok ? "good" : "warn");
  setText($("connection-text"), ok ? "live" : "connecting");
}

// keepEnd shows the end of a list, also of one that grows, unless the user has scrolled away from it.
function keepEnd(list) {
  let at = true;
  const show = () => { if (at) list.scrollTop = list.scrollHeight; };
  list.addEventListener("scroll", () => { at = list.scrollHeight - list.scrollTop - list.clientHeight < 40; });
  new ResizeObserver(show).observe(list);
  new MutationObserver(show).observe(list, { childList: true });
}

// Durations and sizes for people.
function age(since) {
  const s = Math.max(0, Math.round((Date.now() + state.skew - Date.parse(since)) / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}
function size(bytes) {
  if (bytes === undefined) return "–";
  for (const unit of ["B", "KiB", "MiB"]) {
    if (bytes < 1000) return `${bytes < 10 && unit !== "B" ? bytes.toFixed(1) : Math.round(bytes)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} GiB`;
}
const percent = (share) => share === undefined ? "–" : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
const seconds = (ns) => `${(ns / 1e9).toFixed(ns < 1e9 ? 3 : 2)} s`;
const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

// Services.

const tones = {
  running: "good", failed: "bad", failing: "bad", backoff: "bad", waiting: "warn", starting: "warn",
  activating: "warn", stopping: "warn", restarting: "warn",
};

function sparkline(kind) {
  const area = make("path", { class: "area" }), line = make("path", { class: "line" });
  const svg = make("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img" }, area, line);
  const text = make("span");
  return { cell: make("td", { class: kind }, make("div", { class: "use" }, svg, text)), svg, area, line, text };
}

// draw shows values, of which the last is the newest. The scale begins at zero.
function draw(s, values, label, least) {
  const top = Math.max(least, ...values) * 1.1;
  const x = (i) => (100 * (samples - values.length + i) / (samples - 1)).toFixed(2);
  const y = (v) => (24 - 23 * v / top).toFixed(2);
  const points = values.map((v, i) => `${x(i)},${y(v)}`);
  s.line.setAttribute("d", points.length > 1 ? "M" + points.join("L") : "");
  s.area.setAttribute("d", points.length > 1 ? `M${x(0)},24L${points.join("L")}L100,24Z` : "");
  s.svg.setAttribute("aria-label", label);
}

function row(name) {
  const r = { name, cpu: sparkline("cpu"), memory: sparkline("memory"), buttons: {} };
  r.title = make("button", { type: "button", class: "name", "aria-label": `Show the logs of ${name}` }, name);
  r.title.addEventListener("click", () => showLog(name));
  r.detail = make("span", { class: "detail" });
  r.text = make("span");
  r.badge = make("span", { class: "badge" }, make("span", { class: "dot" }), r.text);
  r.since = make("td", { class: "since" });
  r.restarts = make("td", { class: "number" });
  r.orders = make("td", { class: "orders" });
  for (const [verb, label] of [["start", "Start"], ["stop", "Stop"], ["restart", "Restart"]]) {
    const b = make("button", { type: "button", "aria-label": `${label} ${name}` }, label);
    b.addEventListener("click", () => order(verb, name));
    r.buttons[verb] = b;
    if (may("operator")) r.orders.append(b);
  }
  r.element = make("tr", { "data-service": name }, make("td", {}, r.title, r.detail), make("td", { class: "state" }, r.badge), r.since, r.restarts, r.cpu.cell, r.memory.cell, r.orders);
  return r;
}

function showServices() {
  const names = new Set(state.services.map((s) => s.name));
  for (const [name, r] of state.rows) {
    if (!names.has(name)) { r.element.remove(); state.rows.delete(name); }
  }
  state.services.forEach((s, i) => {
    let r = state.rows.get(s.name);
    if (!r) state.rows.set(s.name, r = row(s.name));
    const at = $("rows").children[i];
    if (at !== r.element) $("rows").insertBefore(r.element, at || null);
    r.badge.className = "badge " + (tones[s.state] || "");
    setText(r.text, s.state);
    const why = s.error || s.status || (s.state !== "running" && s.lastExit ? `last exit: ${s.lastExit}` : "");
    r.detail.className = "detail" + (s.error ? " bad" : "");
    setText(r.detail, why);
    setText(r.since, s.since ? age(s.since) : "–");
    setText(r.restarts, String(s.restarts));
    const off = ["stopped", "exited", "failed"].includes(s.state), busy = state.busy.has(s.name);
    setDisabled(r.buttons.start, busy || !off);
    setDisabled(r.buttons.stop, busy || off);
    setDisabled(r.buttons.restart, busy || off);
  });
  const running = state.services.filter((s) => s.state === "running").length;
  setText($("summary"), `${running} of ${state.services.length} running`);
  $("none").hidden = state.services.length > 0;
  setText($("none"), "This machine has no services.");
  showLogNames();
}

// setDisabled keeps the focus near when a button that has it cannot be used any more.
function setDisabled(button, disabled) {
  if (disabled && document.activeElement === button) button.closest("tr").querySelector(".name").focus();
  button.disabled = disabled;
}

async function refresh() {
  try {
    const list = await get("/v1/services");
    state.services = list.services;
    showServices();
    connected(true);
  } catch (e) {
    connected(false);
    $("none").hidden = state.services.length > 0;
    setText($("none"), `The services are not known: ${e.message}`);
  }
}

let pending = 0;
function refreshSoon() {
  clearTimeout(pending);
  pending = setTimeout(refresh, 100);
}

async function measure() {
  if (document.visibilityState !== "visible") return;
  let now;
  try { now = await get("/v1/usage"); } catch { return; }
  const before = state.last;
  state.last = now;
  const elapsed = before ? (now.at - before.at) / 1e9 : 0;
  const known = new Map((before ? before.services : []).map((u) => [u.name, u]));
  for (const u of now.services) {
    let h = state.usage.get(u.name);
    if (!h) state.usage.set(u.name, h = { cpu: [], memory: [] });
    const old = known.get(u.name);
    let share;
    if (elapsed > 0 && old && u.cpuSeconds !== undefined && old.cpuSeconds !== undefined) {
      share = Math.max(0, u.cpuSeconds - old.cpuSeconds) / elapsed; // Less than before after a restart.
      h.cpu.push(share);
    }
    if (u.memory !== undefined) h.memory.push(u.memory);
    for (const list of [h.cpu, h.memory]) list.splice(0, list.length - samples);
    const r = state.rows.get(u.name);
    if (!r) continue;
    setText(r.cpu.text, percent(share));
    draw(r.cpu, h.cpu, `CPU of ${u.name}: ${percent(share)}`, 0.02);
    const memory = size(u.memory) + (u.memoryLimit ? ` / ${size(u.memoryLimit)}` : "");
    setText(r.memory.text, memory);
    draw(r.memory, h.memory, `Memory of ${u.name}: ${memory}`, 1 << 20);
  }
  const used = new Set(now.services.map((u) => u.name));
  for (const [name, r] of state.rows) {
    if (used.has(name)) continue;
    state.usage.delete(name);
    for (const [s, what] of [[r.cpu, "CPU"], [r.memory, "Memory"]]) {
      setText(s.text, "–");
      draw(s, [], `${what} of ${name}: none`, 1);
    }
  }
}

// Orders.

const questions = {
  stop: (name) => [`Stop ${name}?`, "Services that require it stop, too. It stays stopped until it is started, or the machine is booted again.", "Stop"],
  restart: (name) => [`Restart ${name}?`, "Its clients lose their connections while it starts.", "Restart"],
};

function ask(question) {
  const [title, text, yes] = question, dialog = $("confirm");
  setText($("confirm-title"), title);
  setText($("confirm-text"), text);
  setText($("confirm-yes"), yes);
  decide(false);
  dialog.showModal();
  $("confirm-no").focus();
  return new Promise((done) => { state.decided = done; });
}

// decide ends the question that is asked, if there is one.
function decide(yes) {
  const done = state.decided;
  state.decided = null;
  $("confirm").close();
  if (done) done(yes);
}

// closed is called when the dialog was closed, also by Escape. The browser calls it later: the next question
// may be asked by then.
function closed() {
  if (!$("confirm").open) decide(false);
}

async function order(verb, name) {
  if (questions[verb] && !await ask(questions[verb](name))) return;
  problem("");
  state.busy.add(name);
  showServices();
  try {
    await answer(await fetch(`/v1/services/${encodeURIComponent(name)}/${verb}`, { method: "POST", headers: { "Keelson-Page": "1" } }));
  } catch (e) {
    problem(`Cannot ${verb} ${name}: ${e.message}`);
  }
  state.busy.delete(name);
  await refresh();
}

// Logs.

function showLogNames() {
  const select = $("log-name"), chosen = select.value;
  const names = ["", "keelson", "kernel", "containerd", ...state.services.map((s) => s.name)];
  if (names.length === select.options.length && names.every((n, i) => select.options[i].value === n)) return;
  select.replaceChildren(...names.map((n) => make("option", { value: n }, n || "all")));
  select.value = names.includes(chosen) ? chosen : "";
}

function showLog(name) {
  $("log-name").value = name;
  follow();
  $("logs-section").scrollIntoView({ block: "nearest" });
  $("log").focus();
}

function follow() {
  if (state.log) state.log.close();
  $("log").replaceChildren();
  if (!may("operator")) {
    setText($("log-note"), "Logs are for the role operator.");
    return;
  }
  const query = new URLSearchParams({ follow: "true", lines: "200" });
  if ($("log-name").value) query.set("name", $("log-name").value);
  const source = state.log = new EventSource(`/v1/logs?${query}`);
  source.addEventListener("open", () => { $("log").replaceChildren(); state.held = []; setText($("log-note"), ""); });
  const hold = (line) => {
    state.held.push(line);
    if (state.held.length > lineLimit) state.held.shift();
    if (state.held.length === 1) requestAnimationFrame(showLines);
  };
  source.addEventListener("line", (e) => hold(JSON.parse(e.data)));
  source.addEventListener("gap", (e) => hold({ ...JSON.parse(e.data), text: "… lines may be lost: the log was rotated faster than it is read" }));
  source.addEventListener("problem", (e) => setText($("log-note"), JSON.parse(e.data).detail));
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return; // It connects again.
    setText($("log-note"), "The logs cannot be read. Trying again…");
    setTimeout(() => { if (state.log === source) follow(); }, 5000);
  });
}

function showLines() {
  if (state.paused) return;
  const log = $("log");
  for (const l of state.held) {
    const time = l.time || l.before;
    const li = make("li", {}, make("time", { datetime: time || "" }, time ? clock(time) : ""));
    if (!$("log-name").value) li.append(make("span", { class: "from" }, l.name));
    li.append(make("span", { class: l.stream || "" }, l.text));
    log.append(li);
  }
  state.held = [];
  while (log.children.length > lineLimit) log.firstChild.remove();
}

function pause() {
  state.paused = !state.paused;
  $("log-pause").setAttribute("aria-pressed", String(state.paused));
  if (!state.paused) showLines();
}

// Events.

const kinds = ["service", "blocked", "probe", "oom", "refused", "sockets", "order", "swap", "programs", "containerd", "supervisor", "power", "system", "onboot", "stage"];

function eventLine(e) {
  const bad = ["failed", "failing", "backoff", "unhealthy", "not ready", "degraded", "lost", "restored"].includes(e.to) || ["oom", "refused"].includes(e.kind);
  const li = make("li", {}, make("time", { datetime: e.time }, clock(e.time)), make("span", { class: "kind" }, e.name || e.kind));
  const change = e.from && e.to ? `${e.from} → ${e.to}` : e.to || "";
  li.append(make("span", { class: bad ? "bad" : "" }, [change, e.text].filter(Boolean).join(": ")));
  const more = [e.exit && e.exit.code ? `exit ${e.exit.signal || e.exit.code}` : "", e.took ? `after ${seconds(e.took)}` : "", e.by ? `by ${e.by}` : ""].filter(Boolean).join(", ");
  if (more) li.append(make("span", { class: "muted" }, ` (${more})`));
  return li;
}

function watch() {
  const source = new EventSource("/v1/events"), list = $("events");
  let held = [];
  const show = () => {
    list.append(...held.slice(-eventLimit).map(eventLine));
    if (held.some((e) => ["service", "swap", "supervisor", "probe"].includes(e.kind))) refreshSoon();
    if (held.some((e) => ["system", "supervisor"].includes(e.kind))) showBoot();
    held = [];
    while (list.children.length > eventLimit) list.firstChild.remove();
  };
  for (const kind of kinds) {
    source.addEventListener(kind, (e) => {
      held.push(JSON.parse(e.data));
      if (held.length === 1) setTimeout(show, 50);
    });
  }
  source.addEventListener("open", () => connected(true));
  source.addEventListener("error", () => {
    connected(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 5000); // A browser continues by itself otherwise.
  });
}

// Boot.

async function showBoot() {
  let boot;
  try { boot = await get("/v1/boot"); } catch (e) { setText($("boot-summary"), `not known: ${e.message}`); return; }
  const ready = boot.events.findIndex((e) => ["ready", "degraded"].includes(e.stage));
  const events = ready < 0 ? boot.events : boot.events.slice(0, ready + 1);
  // A service that is to become ready has two events; the second one has both.
  const shown = events.filter((e) => (e.took && !/^started, /.test(e.result || "")) || ["kernel", "ready", "degraded"].includes(e.stage));
  if (!shown.length) return;
  const end = Math.max(...shown.map((e) => e.at));
  const last = shown.at(-1);
  setText($("boot-summary"), ["ready", "degraded"].includes(last.stage) ? `${last.stage} ${seconds(last.at)} after the start of the kernel` : "under way");
  const place = (ns) => `${(100 * ns / end).toFixed(3)}%`;
  $("boot").replaceChildren(...shown.map((e) => {
    const took = e.took || 0, bar = make("span", { class: "span" });
    if (["onboot", "service"].includes(e.stage)) bar.classList.add(e.stage);
    if (/fail|killed|exited [1-9]|degraded/.test(`${e.result || ""} ${e.stage}`)) bar.classList.add("bad");
    if (!took) bar.classList.add("mark");
    bar.style.left = `min(${place(e.at - took)}, calc(100% - 3px))`;
    if (took) bar.style.width = place(took);
    const text = took ? seconds(took) : `at ${seconds(e.at)}`, label = make("span", { class: "took" }, text);
    if (e.at > end * 0.8) label.style.right = `calc(100% - ${place(e.at - took)})`; // In front of the bar.
    else label.style.left = place(e.at);
    const li = make("li", { title: `${e.stage} ${e.name || ""} ${e.result || ""}`.trim() },
      make("span", { class: "label" }, make("b", {}, e.stage), e.name ? ` ${e.name}` : ""), make("div", { class: "track" }, bar, label));
    return li;
  }));
  const ticks = make("div", { class: "ticks" });
  const raw = end / 1e9 / 6, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * unit).find((s) => s >= raw);
  for (let t = 0; t * 1e9 < end * 0.96; t += step) {
    const tick = make("span", {}, `${+t.toFixed(3)} s`);
    tick.style.left = place(t * 1e9);
    ticks.append(tick);
  }
  const stop = make("span", {}, seconds(end));
  stop.style.left = "100%";
  if (ticks.lastChild && end / 1e9 - parseFloat(ticks.lastChild.textContent) < step * 0.75) ticks.lastChild.remove();
  ticks.append(stop);
  $("axis").replaceChildren(ticks);
}

async function begin() {
  setText($("host"), location.hostname);
  document.title = `keelson ${location.hostname}`;
  $("confirm-no").addEventListener("click", () => decide(false));
  $("confirm-yes").addEventListener("click", () => decide(true));
  $("confirm").addEventListener("close", closed);
  $("log-name").addEventListener("change", follow);
  $("log-pause").addEventListener("click", pause);
  keepEnd($("log"));
  keepEnd($("events"));
  $("log-clear").addEventListener("click", () => $("log").replaceChildren());
  try {
    const client = await get("/gate/client");
    state.role = client.role;
    setText($("client"), `${client.name} (${client.role})`);
    $("client").title = `certificate valid until ${new Date(client.expires).toLocaleString()}`;
  } catch (e) {
    problem(e.message);
    connected(false);
    return;
  }
  await refresh();
  watch();
  follow();
  showBoot();
  measure();
  setInterval(measure, interval);
  setInterval(showServices, 10000); // Ages.
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") { refresh(); measure(); } });
}

begin();
