// Keeps the page up to date: listens to /events, fetches the live part when there is something new, counts ages, and warns
// when the connection is lost. The server draws everything; this only puts it in place.
import { morphKeepingFocus } from "./morph.js";
import { inWords } from "./words.js";

const SILENCE_MS = 12_000;
const POLL_MS = 3_000;
const WAITS_MS = [1_000, 2_000, 4_000, 8_000];

const live = document.getElementById("live");
const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
const cluster = document.body.dataset.cluster;
let receivedAt = Date.now();
let clockAhead = 0;
let source = null;
let failures = 0;
let listenedAt = 0;
let requests = 0;

const root = () => live.firstElementChild;
const learnClock = (now) => { if (now) clockAhead = Date.parse(now) - Date.now(); };

function countAges() {
  const now = Date.now() + clockAhead;
  for (const time of live.querySelectorAll("time[data-age]")) {
    const seconds = (now - Date.parse(time.dateTime)) / 1000;
    const text = time.dataset.age === "for" ? inWords(seconds) : seconds < 1 ? "just now" : inWords(seconds) + " ago";
    if (time.textContent !== text) time.textContent = text;
  }
}

function label(up) {
  const { state, title } = root().dataset;
  const icon = `/static/icons/${up ? state : "unknown"}.svg`;
  const words = up ? title : `Connection lost · ${title}`;
  if (document.title !== words) document.title = words;
  if (document.getElementById("icon").getAttribute("href") !== icon) document.getElementById("icon").href = icon;
}

function showLink(up) {
  const lost = document.body.classList.contains("lost");
  document.body.classList.toggle("linked", up);
  document.body.classList.toggle("lost", !up);
  connection.hidden = up;
  label(up);
  if (up) return;
  // Announced once: the text that counts seconds is not a live region.
  if (!lost) announcer.textContent = "Connection to the Copilot lost. This page is out of date.";
  const silence = inWords((Date.now() - receivedAt) / 1000);
  connection.textContent = `Connection to the Copilot lost: no message for ${silence}. This page is out of date. Reconnecting…`;
}

function received() {
  receivedAt = Date.now();
  failures = 0;
  showLink(true);
}

function put(html) {
  const next = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  const before = root().dataset.state;
  morphKeepingFocus(root(), document.adoptNode(next));
  const { state, now, at } = root().dataset;
  label(true);
  if (!at) learnClock(now);
  countAges();
  if (state !== before && !at) announcer.textContent = `The state${cluster ? " of " + cluster : ""} is now ${state}`;
}

// True when the Copilot answered. Only the latest request replaces the page.
async function refresh() {
  const mine = ++requests;
  try {
    const response = await fetch("/fragment" + location.search, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (response.status === 401) { location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search)); return true; }
    if (response.ok && mine === requests) put(await response.text());
    return response.ok;
  } catch { return false; }
}

function listen() {
  source?.close();
  listenedAt = Date.now();
  source = new EventSource("/events?cluster=" + encodeURIComponent(cluster));
  const onEvent = (event) => { received(); if (!root().dataset.at) learnClock(JSON.parse(event.data).now); };
  source.addEventListener("heartbeat", onEvent);
  source.addEventListener("verdict", (event) => { onEvent(event); if (!root().dataset.at) refresh(); });
  source.addEventListener("error", async () => {
    source.close();
    source = null;
    // The stream may be refused while the Copilot answers: too many listeners, or a proxy closes it. Then poll.
    showLink(false);
    const wait = WAITS_MS[Math.min(failures, WAITS_MS.length - 1)];
    failures += 1;
    if (await refresh()) { const sofar = failures; received(); failures = sofar; }
    setTimeout(listen, wait * (0.8 + 0.4 * Math.random()));
  });
}

async function poll() {
  if (await refresh()) received();
  else { failures += 1; showLink(false); }
  setTimeout(poll, failures ? WAITS_MS[Math.min(failures, WAITS_MS.length) - 1] : POLL_MS);
}

document.documentElement.classList.add("scripted-here");
learnClock(root().dataset.at ? null : root().dataset.now);
if (cluster === undefined) poll();
else listen();

setInterval(() => {
  countAges();
  if (Date.now() - receivedAt > SILENCE_MS || document.body.classList.contains("lost")) showLink(false);
  if (source && Math.min(Date.now() - receivedAt, Date.now() - listenedAt) > 2 * SILENCE_MS) listen();
}, 1000);

// Links to another view of the same cluster are fetched and put in place: the scroll position stays.
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-soft]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const href = link.getAttribute("href");
  history.pushState(null, "", href);
  if (!(await refresh())) location.assign(href);
});
addEventListener("popstate", () => refresh());
