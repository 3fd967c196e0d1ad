// The page for people. It asks the service it came from, and nobody else.
"use strict";

const POLL_MS = 2000, KEPT = 150, SMOOTH = 5, MINUTE = 30, NEWEST = 12;
const OURS = ["/v1/page/", "/page/"];
const $ = (id) => document.getElementById(id);
const key = { get: () => sessionStorage.getItem("key") || "", set: (text) => sessionStorage.setItem("key", text), forget: () => sessionStorage.removeItem("key") };
const scopes = new Set();

// --- the document ---------------------------------------------------------------------------------------------------

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawn(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Say that something failed, or with no words that nothing does. */
function fault(id, words = "") {
  if ($(id).textContent !== words) $(id).textContent = words;
  $(id).hidden = !words;
}

const whole = (number) => Math.round(number).toLocaleString("en");
const some = (number) => (number === 0 ? "0" : number >= 100 ? whole(number) : number >= 10 ? number.toFixed(1) : number.toFixed(2));
const plain = (column) => column.replace(/^video_/, "").replace(/(_id|_ms)$/, "").replaceAll("_", " ");
const many = (count, thing) => `${whole(count)} ${thing}${count === 1 ? "" : "s"}`;

function moment(timeMs) {
  if (timeMs === null) return "";
  return new Date(timeMs).toLocaleString("en", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });
}

function seconds(value) {
  if (value === null) return "–";
  if (value === Infinity) return "> 2.5 s";
  return value < 1 ? `${some(value * 1000)} ms` : `${some(value)} s`;
}

// --- the service ----------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, words) { super(words); this.status = status; }
}

async function ask(path, method = "GET", body = null) {
  const headers = key.get() ? { authorization: `Bearer ${key.get()}` } : {};
  let reply;
  try {
    reply = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Refused(0, "The service does not answer. It may be stopped, or the network is away.");
  }
  let told = {};
  try {
    told = await reply.json();
  } catch {
    if (reply.ok) throw new Refused(reply.status, "The service's answer broke off; ask again.");
  }
  if (reply.ok) return told;
  if (reply.status === 401) showDoor("The service does not know this key any more.");
  const words = { 429: "This key asks too often", 503: "The service has too much to do, or cannot reach its store" }[reply.status];
  throw new Refused(reply.status, [words, told.error || `The service answered ${reply.status}`].filter(Boolean).join(": "));
}

async function enter() {
  let access;
  try {
    access = await ask("/v1/page/access", "POST", { key: key.get() });
  } catch (error) {
    say("bad", error.message);
    setTimeout(enter, POLL_MS);
    return;
  }
  scopes.clear();
  access.scopes.forEach((scope) => scopes.add(scope));
  $("keyed").hidden = !access.keys || !access.scopes.length;
  $("keyed-words").textContent = `Key “${access.name}” may ${access.scopes.join(", ")}.`;
  if (access.keys && !access.scopes.length) {
    showDoor(key.get() ? "The service does not know this key." : "");
    return;
  }
  $("door").hidden = true;
  begin(access);
}

function showDoor(words) {
  key.forget();
  $("door").hidden = false;
  fault("door-fault", words);
  say("", "Waiting for a key");
  $("key").focus();
}

function say(kind, words) {
  $("state").className = `state ${kind}`;
  if ($("state").textContent !== words) $("state").textContent = words;
}

let begun = false;
function begin(access) {
  const read = scopes.has("read"), write = scopes.has("write");
  for (const control of $("ask-user").elements) control.disabled = !write;
  for (const control of $("ask-video").elements) control.disabled = !read;
  if (!write) $("told-state").textContent = "This key may not see what people watched: that needs the scope write. Videos can be asked for with the scope read.";
  $("versions-act").hidden = !mayAct(access);
  acting = mayAct(access);
  if (!read) {
    ["map-state", "versions-state", "now-words"].forEach((id) => { $(id).textContent = "This key may not see this: that needs the scope read."; });
    say("", "Nothing to show with this key");
  } else if (!begun) {
    begun = true;
    poll();
  }
  if (read) { showMap(); showVersions(); }
  fromAddress();
}

// --- a user and a video ---------------------------------------------------------------------------------------------

let shown = null, asked = 0;

const mark = (video, kind, label) => ({ id: video.video_id, place: video.place, kind, label });

function videoButton(id) {
  return el("button", { type: "button", class: "id", title: `What is like video ${id}`, onclick: () => go("video", id) }, id);
}

function factsOf(video, columns) {
  const parts = video.facts.flatMap((text, place) => (text === "–" ? [] : [[plain(columns[place]), text]]));
  const line = el("span", { class: "facts" });
  parts.forEach(([name, text]) => line.append(el("span", {}, `${name} `, el("b", {}, text)), " "));
  if (!parts.length) line.append("nothing else is known of it");
  return line;
}

function videoLine(video, columns, before, after, more = null) {
  const line = el("li", { "data-video": video.video_id }, ...before, videoButton(video.video_id), after, factsOf(video, columns), more);
  const light = (on) => () => { line.classList.toggle("lit", on); map.lit = on ? video : null; map.draw(); };
  for (const [event, on] of [["mouseenter", true], ["focusin", true], ["mouseleave", false], ["focusout", false]]) line.addEventListener(event, light(on));
  return line;
}

function because(candidate, most) {
  if (!candidate.because.length) return null;
  const line = el("span", { class: "because" }, "like watched");
  for (const { video_id: id, likeness } of candidate.because) {
    const words = `likeness ${likeness.toFixed(3)}`;
    line.append(el("span", { title: words }, videoButton(id), el("meter", { min: 0, max: most, value: Math.max(0, likeness), "aria-label": words })));
  }
  return line;
}

const PATHS = {
  personal: (user) => (user.watched > user.read ? `from the newest ${user.read} they watched` : "from what they watched"),
  new_user: () => "as for anybody of whom no watched video is known",
  popular: () => "by what most watched of late: the towers gave no answer, and the log says why",
};

function historyOf(user, part) {
  const list = el("ul", { class: "videos history", "aria-label": `What user ${user.user_id} watched` });
  for (const each of part) {
    const line = videoLine(each.video, user.columns, [], el("span", { class: "score" }, moment(each.time_ms)));
    if (!each.read) {
      line.classList.add("unread");
      line.setAttribute("title", "The towers do not read this one: it is unknown to them, or older than what they look at");
    }
    list.append(line);
  }
  return list;
}

function tellUser(user) {
  const title = `User ${user.user_id}`;
  const words = `${title} has watched ${user.watched ? many(user.watched, "video") : "nothing that is known"} and would now be shown ${many(user.candidates.length, "video")}, chosen ${(PATHS[user.path] || (() => user.path))(user)}.`;
  const notes = [user.history_known ? "" : "What they watched lately could not be asked for: the store does not answer.", user.short_because && `Fewer than asked for: ${user.short_because}.`].filter(Boolean);
  const most = Math.max(...user.candidates.flatMap((each) => each.because.map((one) => one.likeness)), 1e-9);
  const list = el("ol", { class: "videos candidates", "aria-label": `What user ${user.user_id} would be shown` });
  user.candidates.forEach((each, place) => list.append(videoLine(each.video, user.columns, [el("span", { class: "rank" }, String(place + 1))], el("span", { class: "score", title: "score" }, each.score.toFixed(3)), because(each, most))));
  const [newest, older] = [user.history.slice(0, NEWEST), user.history.slice(NEWEST)].map((part) => historyOf(user, part));
  const rest = user.watched - user.history.length, timeless = user.history.some((each) => each.time_ms === null);
  $("told-lists").replaceChildren(
    el("p", { class: "telling" }, words), ...notes.map((note) => el("p", { class: "hint" }, note)),
    el("div", { class: "lists two" },
      el("section", { class: "card" }, el("h3", {}, "Would be shown now"), user.candidates.length ? list : el("p", { class: "hint" }, "Nothing is left to show.")),
      el("section", { class: "card" }, el("h3", {}, "Watched, newest first"), user.history.length ? newest : el("p", { class: "hint" }, "Nothing is known that this user watched."),
        older.children.length ? el("details", {}, el("summary", {}, `and ${whole(user.watched - NEWEST)} before`), older, rest > 0 ? el("p", { class: "hint" }, `and ${whole(rest)} older ones`) : null) : null, timeless ? el("p", { class: "hint" }, "Where no time stands, the log knew none.") : null)));
  $("told-state").textContent = "";
  map.marks = [...user.history.map((each) => mark(each.video, "watched", "watched")), ...user.candidates.map((each, place) => mark(each.video, "shown", `would be shown, place ${place + 1}`))];
  map.kinds = [["shown", "would be shown"], ["watched", "watched"]];
}

function tellVideo(video) {
  const list = el("ol", { class: "videos candidates", "aria-label": `Videos like ${video.video.video_id}` });
  video.similar.forEach((each, place) => list.append(videoLine(each.video, video.columns, [el("span", { class: "rank" }, String(place + 1))], el("span", { class: "score", title: "likeness" }, each.score.toFixed(3)))));
  $("told-lists").replaceChildren(
    el("p", { class: "telling" }, `Video ${video.video.video_id}: `, factsOf(video.video, video.columns)),
    video.short_because ? el("p", { class: "hint" }, `Fewer than asked for: ${video.short_because}.`) : "",
    el("section", { class: "card" }, el("h3", {}, "Most like it, however popular"), video.similar.length ? list : el("p", { class: "hint" }, "No other video is there.")));
  $("told-state").textContent = "";
  map.marks = [...video.similar.map((each, place) => mark(each.video, "shown", `like it, place ${place + 1}`)), mark(video.video, "watched", "this video")];
  map.kinds = [["shown", "most like it"], ["watched", "this video"]];
}

async function show(kind, id) {
  const turn = ++asked;
  fault("told-fault");
  $("told").setAttribute("aria-busy", "true");
  $(kind).value = id;
  try {
    const told = await ask(`/v1/page/${kind}s/${encodeURIComponent(id)}`);
    if (turn !== asked) return;
    shown = { kind, id };
    (kind === "user" ? tellUser : tellVideo)(told);
  } catch (error) {
    if (turn !== asked) return;
    shown = null;
    $("told-lists").replaceChildren();
    $("told-state").textContent = "";
    [map.marks, map.kinds] = [[], []];
    fault("told-fault", error.message);
  }
  $("told").removeAttribute("aria-busy");
  map.draw();
}

// What is shown stands behind the address's # and so is never sent.
function go(kind, id) {
  const wanted = `#${kind}=${encodeURIComponent(id)}`;
  if (location.hash === wanted) show(kind, id);
  else location.hash = wanted;
}

function fromAddress() {
  const found = /^#(user|video)=(.+)$/.exec(location.hash);
  if (found && scopes.has(found[1] === "user" ? "write" : "read")) show(found[1], decodeURIComponent(found[2]));
}

async function somebody() {
  fault("told-fault");
  try {
    const { user_id: id } = await ask("/v1/page/somebody");
    if (id) go("user", id);
    else fault("told-fault", "Nobody has watched anything yet.");
  } catch (error) {
    fault("told-fault", error.message);
  }
}

// --- the map --------------------------------------------------------------------------------------------------------

const map = {
  told: null, marks: [], kinds: [], lit: null,

  /** Where a place lies on the canvas, in its own pixels. */
  at(x, y) {
    const { width, height } = $("map"), { left, low, wide, high } = this.box, pad = 14 * this.ratio;
    const scale = Math.min((width - 2 * pad) / wide, (height - 2 * pad) / high);
    return [width / 2 + (x - left - wide / 2) * scale, height / 2 - (y - low - high / 2) * scale];
  },

  take(told) {
    const [left, right] = [Math.min(...told.x), Math.max(...told.x)], [low, top] = [Math.min(...told.y), Math.max(...told.y)];
    this.told = told;
    this.box = { left, low, wide: Math.max(right - left, 1e-6), high: Math.max(top - low, 1e-6) };
    const names = told.values.map((value) => `${plain(told.feature)} ${value}`);
    const legend = names.map((name, code) => el("li", { class: `c${code}` }, name));
    $("map-legend").replaceChildren(...legend, ...(told.codes.includes(names.length) && names.length ? [el("li", {}, "others")] : []));
    const count = told.video_ids.length;
    $("map-state").textContent = "";
    $("map-words").textContent = `Each dot is a video${count < told.catalogue ? `, the ${whole(count)} most watched of ${whole(told.catalogue)}` : ""}. Dots that lie together are alike to the towers; directions mean nothing. Press a dot to see what is like it.`;
    this.draw();
  },

  draw() {
    if (!this.told) return;
    const canvas = $("map"), box = canvas.getBoundingClientRect(), style = getComputedStyle(document.documentElement);
    this.ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * this.ratio);
    canvas.height = Math.round(box.height * this.ratio);
    const pen = canvas.getContext("2d"), colour = (name) => style.getPropertyValue(name).trim();
    const codes = [...this.told.values.keys()].map((code) => colour(`--c${code}`)), rest = colour("--c8");
    const placed = this.marks.filter((each) => each.place), size = 1.9 * this.ratio;
    pen.globalAlpha = placed.length ? 0.38 : 0.85;
    this.told.x.forEach((x, i) => {
      const [h, v] = this.at(x, this.told.y[i]);
      pen.fillStyle = codes[this.told.codes[i]] || rest;
      pen.beginPath();
      pen.arc(h, v, size, 0, 2 * Math.PI);
      pen.fill();
    });
    pen.globalAlpha = 1;
    for (const { place, kind } of placed) this.ring(pen, place, kind, colour);
    if (this.lit && this.lit.place) this.ring(pen, this.lit.place, "lit", colour);
    $("map-marks").hidden = !placed.length;
    $("map-marks").replaceChildren(...this.kinds.map(([kind, words]) => el("li", { class: kind }, words)));
    const marks = placed.length ? `; ${this.kinds.map(([kind, words]) => `${placed.filter((each) => each.kind === kind).length} ${words}`).join(", ")}` : "";
    canvas.setAttribute("aria-label", `Map of ${whole(this.told.video_ids.length)} videos${marks}. The lists beside it tell the same.`);
  },

  ring(pen, place, kind, colour) {
    const [h, v] = this.at(...place), size = { shown: 4.5, watched: 5, lit: 9 }[kind] * this.ratio;
    pen.beginPath();
    pen.arc(h, v, size, 0, 2 * Math.PI);
    pen.lineWidth = 2 * this.ratio;
    if (kind === "shown") {
      pen.fillStyle = colour("--ours");
      pen.fill();
      pen.lineWidth = 1.5 * this.ratio;
      pen.strokeStyle = colour("--card");
    } else pen.strokeStyle = colour(kind === "lit" ? "--ink" : "--warm");
    pen.stroke();
  },

  /** The video nearest to a pointer, a mark before a dot, none where none is near. */
  near(event) {
    if (!this.told) return null;
    const box = $("map").getBoundingClientRect(), h = (event.clientX - box.left) * this.ratio, v = (event.clientY - box.top) * this.ratio;
    let best = null, least = 14 * this.ratio;
    const look = (id, place, label) => {
      const [x, y] = this.at(...place), far = Math.hypot(x - h, y - v);
      if (far < least) [least, best] = [far, { id, label, left: x / this.ratio, top: y / this.ratio }];
    };
    this.marks.forEach((each) => each.place && look(each.id, each.place, each.label));
    if (best) return best;
    this.told.x.forEach((x, i) => look(this.told.video_ids[i], [x, this.told.y[i]], this.told.values[this.told.codes[i]] ? `${plain(this.told.feature)} ${this.told.values[this.told.codes[i]]}` : ""));
    return best;
  },

  tip(event) {
    const found = this.near(event), tip = $("map-tip");
    tip.hidden = !found;
    if (!found) return;
    tip.textContent = `video ${found.id}${found.label ? `: ${found.label}` : ""}`;
    const room = $("map").clientWidth - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(0, Math.min(found.left + 12, room))}px`;
    tip.style.top = `${Math.max(0, found.top - 36)}px`;
  },
};

async function showMap() {
  let told;
  try {
    told = await ask("/v1/page/map");
  } catch (error) {
    $("map-state").textContent = error.message;
    setTimeout(showMap, 5 * POLL_MS);
    return;
  }
  if (told.state === "drawing") {
    $("map-state").textContent = "The map is being drawn, which takes some seconds…";
    setTimeout(showMap, POLL_MS / 2);
  } else if (told.state === "failed") $("map-state").textContent = "The map could not be drawn; the service's log says why.";
  else if (!told.video_ids.length) $("map-state").textContent = "There are no videos to draw.";
  else {
    map.take(told);
    if (shown && map.marks.some((each) => !each.place)) show(shown.kind, shown.id);
  }
}

// --- right now ------------------------------------------------------------------------------------------------------

const kept = [];
const ofOthers = (route) => route.route !== "/" && !OURS.some((prefix) => route.route.startsWith(prefix));

/** Counts of each route between two moments. */
function between(old, now) {
  const before = new Map(old.routes.map((route) => [route.route, route]));
  return now.routes.filter(ofOthers).map((route) => {
    const then = before.get(route.route) || { by_status: {}, within: [] };
    const within = route.within.map((count, place) => count - (then.within[place] || 0));
    const errors = Object.entries(route.by_status).reduce((sum, [status, count]) => sum + (status >= "500" ? count - (then.by_status[status] || 0) : 0), 0);
    const all = Object.values(route.by_status).reduce((sum, count) => sum + count, 0);
    return { route: route.route, within, errors, all, count: within.at(-1) || 0 };
  });
}

/** The time within which a share of requests was answered, from a histogram, as Prometheus estimates it. */
function quantile(bounds, within, share) {
  const all = within.at(-1);
  if (!all) return null;
  const place = within.findIndex((count) => count >= share * all);
  if (place >= bounds.length) return Infinity;
  const low = place ? bounds[place - 1] : 0, below = place ? within[place - 1] : 0;
  return low + ((bounds[place] - low) * (share * all - below)) / (within[place] - below);
}

const summed = (routes) => routes.reduce((sum, route) => route.within.map((count, place) => count + (sum[place] || 0)), []);

function measured(back) {
  const now = kept.at(-1), old = kept[Math.max(0, kept.length - 1 - back)], took = (now.time_ms - old.time_ms) / 1000;
  return { took, bounds: now.bounds_s, routes: took > 0 ? between(old, now) : between(now, now) };
}

function point() {
  const { took, bounds, routes } = measured(SMOOTH), within = summed(routes);
  const rate = took ? (within.at(-1) || 0) / took : null, errors = took ? routes.reduce((sum, route) => sum + route.errors, 0) / took : null;
  return { rate, errors, half: quantile(bounds, within, 0.5), most: quantile(bounds, within, 0.99), queue: kept.at(-1).state.queue_length || 0 };
}

const CHARTS = [
  { title: "Requests a second", lines: [["rate", "requests"]], text: some, least: 1 },
  { title: "Time to answer", lines: [["half", "half within"], ["most", "99% within"]], text: seconds, least: 0.001 },
  { title: "Errors a second", lines: [["errors", "errors"]], text: some, least: 1 },
  { title: "Requests that wait", lines: [["queue", "waiting"]], text: whole, least: 4 },
];

function chart({ title, lines, text, least }) {
  const points = kept.map((each) => each.point), values = lines.flatMap(([name]) => points.map((each) => each[name])).filter(Number.isFinite);
  const top = Math.max(least, ...values) * 1.1, last = points.at(-1);
  const figures = lines.map(([name, words]) => `${words} ${last[name] === null ? "–" : text(last[name])}`);
  const sheet = drawn("svg", { viewBox: "0 0 300 80", preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${figures.join(", ")}` });
  for (const v of [0.5, 40, 79.5]) sheet.append(drawn("line", { x1: 0, x2: 300, y1: v, y2: v, class: "grid" }));
  lines.forEach(([name], place) => {
    let pen = "M", way = "";
    points.forEach((each, i) => {
      if (!Number.isFinite(each[name])) { pen = "M"; return; }
      way += `${pen}${(300 * (KEPT - points.length + i)) / (KEPT - 1)} ${79.5 - (79 * each[name]) / top}`;
      if (pen === "M") way += "h.01";
      pen = "L";
    });
    sheet.append(drawn("path", { d: way, ...(place ? { class: "second" } : {}) }));
  });
  const keys = figures.map((words, place) => el("i", place ? { class: "second" } : {}, words));
  return el("figure", { class: "card chart" }, el("figcaption", {}, title, el("span", {}, `up to ${text(top)}`)), sheet, el("p", { class: "keys" }, ...keys));
}

function tile(figure, words, bad = false) {
  return el("li", bad ? { class: "bad" } : {}, el("b", {}, figure), words);
}

function tellNow() {
  const now = kept.at(-1), { state } = now, last = now.point, dash = (value, text) => (value === null ? "–" : text(value));
  $("tiles").replaceChildren(
    tile(dash(last.rate, some), "requests a second"),
    tile(seconds(last.half), "half are answered within"),
    tile(seconds(last.most), "99% are answered within"),
    tile(dash(last.errors, some), "errors a second", last.errors > 0),
    tile(whole(state.queue_length || 0), `requests wait; ${whole(state.queue_refused_total || 0)} refused so far`),
    tile(now.store_away ? "away" : "well", now.store_away ? `the store: ${now.store_away}; events that wait here: ${whole(state.store_waiting || 0)}` : "the store, where events are kept", Boolean(now.store_away)),
    tile(whole(now.events.new || 0), `events came; ${whole(now.events.repeated || 0)} came twice`),
    tile(seconds(state.change_lag_seconds || 0), "from a video's change to its showing"),
    tile(whole(state.index_videos || 0), `videos can be shown; ${whole(state.index_recent || 0)} came lately`),
    tile(dash(state.bundle_made_timestamp_seconds ?? null, (made) => age(now.time_ms / 1000 - made)), "since the bundle was made"));
  $("charts").replaceChildren(...CHARTS.map(chart));
  const { took, bounds, routes } = measured(MINUTE);
  const lines = routes.sort((one, other) => other.all - one.all).map((route) => el("tr", {},
    el("th", { scope: "row" }, route.route === "none" ? "no such path" : route.route), el("td", {}, took ? some(route.count / took) : "–"),
    el("td", {}, seconds(quantile(bounds, route.within, 0.5))), el("td", {}, seconds(quantile(bounds, route.within, 0.99))),
    el("td", {}, whole(route.errors)), el("td", {}, whole(route.all))));
  $("routes").replaceChildren(...(lines.length ? lines : [el("tr", {}, el("td", { colspan: 6 }, "Nothing was asked yet."))]));
}

function age(value) {
  const [size, name] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]].find(([each]) => value >= each) || [1, "second"];
  return many(Math.max(0, Math.floor(value / size)), name);
}

async function poll() {
  if (!document.hidden && scopes.has("read")) {
    try {
      const now = await ask("/v1/page/live"), old = kept.at(-1);
      // A smaller count: the service began anew, and so do the charts.
      if (old && now.routes.reduce((sum, each) => sum + (each.within.at(-1) || 0), 0) < old.routes.reduce((sum, each) => sum + (each.within.at(-1) || 0), 0)) kept.length = 0;
      kept.push(now);
      if (kept.length > KEPT) kept.shift();
      now.point = point();
      fault("now-fault");
      say(now.store_away ? "bad" : "good", now.store_away ? `serves ${now.bundle_version}; its store is away` : `serves ${now.bundle_version}`);
      tellNow();
      const changed = old && (old.bundle_version !== now.bundle_version || old.state.bundle_refused !== now.state.bundle_refused);
      if (changed) showVersions();
      if (old && old.bundle_version !== now.bundle_version) showMap();
    } catch (error) {
      fault("now-fault", `${error.message} This page asks again every two seconds.`);
      say("bad", error.status ? "something is wrong" : "does not answer");
    }
  }
  setTimeout(poll, POLL_MS);
}

// --- versions -------------------------------------------------------------------------------------------------------

let acting = false;
const mayAct = (access) => access.keys && scopes.has("admin");

function figureCell(figure, best) {
  if (!figure) return el("td", {}, "–");
  const half = figure.low === null || figure.high === figure.low ? null : el("small", {}, `± ${((figure.high - figure.low) / 2).toFixed(3)}`);
  return el("td", best ? { class: "best" } : {}, figure.value.toFixed(3), half);
}

function judgedTable(version) {
  const names = [...new Set(version.judged.flatMap((each) => Object.keys(each.figures)))];
  if (!names.length) return el("p", { class: "hint" }, "It was published without an evaluation.");
  const best = Object.fromEntries(names.map((name) => [name, Math.max(...version.judged.map((each) => each.figures[name]?.value ?? -Infinity))]));
  const lines = version.judged.map((each) => el("tr", each.name === "towers" ? { class: "ours" } : {}, el("th", { scope: "row" }, each.name === "towers" ? "the towers" : each.name), ...names.map((name) => figureCell(each.figures[name], each.figures[name]?.value === best[name]))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Evaluation of version ${version.name}` },
    el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "judged on what was watched later"), ...names.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...lines)));
}

function versionCard(version, told) {
  const refused = told.refused === version.name;
  const badges = [[version.served, "serves now", ""], [version.current && !version.served, "chosen, not served", " bad"], [refused, "refused", " bad"]];
  const head = el("h3", {}, version.name, ...badges.filter(([on]) => on).map(([, words, kind]) => el("span", { class: `badge${kind}` }, words)));
  if (acting && !version.served) head.append(el("button", { type: "button", class: "second", onclick: () => act("/v1/bundle", { version: version.name }, `Serve version ${version.name} to everybody from now on?`) }, "Serve this version"));
  const card = el("article", { class: "card version" }, head);
  if (refused) card.append(el("p", { class: "fault" }, `Refused, and the version before goes on: ${told.refused_because}`));
  if (version.fault) card.append(el("p", { class: "fault" }, version.fault));
  else card.append(
    el("p", { class: "hint" }, `Made ${moment(Date.parse(version.created_at))}; ${many(version.videos, "video")}, ${many(version.users, "user")}, vectors of ${version.dim} numbers, index ${version.index}.`),
    ...(version.verdict ? [el("p", { class: "verdict" }, version.verdict)] : []), judgedTable(version));
  return card;
}

async function showVersions() {
  fault("versions-fault");
  try {
    const told = await ask("/v1/page/versions");
    const gone = told.refused && !told.versions.some((each) => each.name === told.refused);
    if (gone) fault("versions-fault", `Version ${told.refused} was refused: ${told.refused_because}`);
    $("versions-list").replaceChildren(...told.versions.map((version) => versionCard(version, told)));
    const floors = told.versions.some((each) => each.judged.length > 1);
    $("versions-state").textContent = `${many(told.versions.length, "version")}${told.versions.length > 1 ? ", the newest first" : ""}.${floors ? " Below the towers stand the floors: simple methods under the same conditions, which towers have to beat. ± is half of a 95% interval." : ""}`;
    const mayGoBack = told.versions.some((each) => each.name < told.served);
    $("roll-back").disabled = !mayGoBack;
    $("roll-back").title = mayGoBack ? "" : "There is no version before the one that serves";
  } catch (error) {
    $("versions-state").textContent = "";
    fault("versions-fault", error.message);
  }
}

async function act(path, body, question) {
  if (!window.confirm(question)) return;
  $("versions-state").textContent = "Opening the version, which may take some seconds…";
  try {
    await ask(path, "POST", body);
    await showVersions();
  } catch (error) {
    await showVersions();
    fault("versions-fault", error.message);
  }
}

// --- what a person does ---------------------------------------------------------------------------------------------

$("door").addEventListener("submit", (event) => { event.preventDefault(); key.set($("key").value.trim()); $("key").value = ""; enter(); });
$("forget-key").addEventListener("click", () => { key.forget(); location.reload(); });
$("ask-user").addEventListener("submit", (event) => { event.preventDefault(); go("user", $("user").value.trim()); });
$("ask-video").addEventListener("submit", (event) => { event.preventDefault(); go("video", $("video").value.trim()); });
$("somebody").addEventListener("click", somebody);
$("roll-back").addEventListener("click", () => act("/v1/bundle/rollback", null, "Serve the version before to everybody from now on?"));
$("map").addEventListener("pointermove", (event) => map.tip(event));
$("map").addEventListener("pointerleave", () => { $("map-tip").hidden = true; });
$("map").addEventListener("click", (event) => { const found = map.near(event); if (found) go("video", found.id); });
window.addEventListener("hashchange", fromAddress);
window.addEventListener("resize", () => map.draw());
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.draw());
enter();
