// Keeps the page alive: listens to /events, fetches the live part anew when there is something new, counts ages, and says
// loudly when nobody is heard any more. Everything is drawn by the server; this only replaces it.
"use strict";
(() => {
  const live = document.getElementById("live");
  const connection = document.getElementById("connection");
  const announcer = document.getElementById("announcer");
  const cluster = document.body.dataset.cluster;
  const query = "?cluster=" + encodeURIComponent(cluster);
  const SILENCE = 12000;
  let heardAt = Date.now();
  let clockAhead = 0;
  let source = null;
  let fetching = null;
  let again = false;

  const root = () => live.firstElementChild;
  const learnClock = (now) => { if (now) clockAhead = Date.parse(now) - Date.now(); };

  function inWords(seconds) {
    const s = Math.max(0, Math.round(seconds));
    const two = (n, big, m, small) => (m ? `${n} ${big} ${m} ${small}` : `${n} ${big}`);
    if (s < 60) return `${s} s`;
    if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
    if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
    return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
  }

  function countAges() {
    const now = Date.now() + clockAhead;
    for (const time of live.querySelectorAll("time[data-age]")) {
      const seconds = (now - Date.parse(time.dateTime)) / 1000;
      time.textContent = time.dataset.age === "for" ? inWords(seconds) : seconds < 1 ? "just now" : inWords(seconds) + " ago";
    }
  }

  function showLink(up) {
    document.body.classList.toggle("linked", up);
    document.body.classList.toggle("lost", !up);
    connection.hidden = up;
    if (!up) {
      connection.textContent =
        `Connection to the Copilot lost: nothing heard for ${inWords((Date.now() - heardAt) / 1000)}. What you see is old. Reconnecting…`;
    }
  }

  function replace(html) {
    const next = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
    const open = [...live.querySelectorAll("details[open]")].map((d) => d.className);
    const focused = live.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
    const before = root().dataset.state;
    live.replaceChildren(document.adoptNode(next));
    for (const d of live.querySelectorAll("details")) d.open = d.open || open.includes(d.className);
    if (focused) live.querySelector(focused)?.focus({ preventScroll: true });
    const { state, title, now } = root().dataset;
    document.title = title;
    document.getElementById("icon").href = `/static/icons/${state}.svg`;
    learnClock(now);
    countAges();
    if (state !== before) announcer.textContent = `The state of ${cluster} is now ${state}`;
  }

  function selectorOf(node) {
    if (node.tagName === "SUMMARY") return `details.${node.parentElement.className} > summary`;
    if (node.dataset.signal) return `${node.tagName}[data-signal="${CSS.escape(node.dataset.signal)}"]`;
    return node.id ? `#${CSS.escape(node.id)}` : null;
  }

  async function refresh() {
    if (fetching) { again = true; return; }
    fetching = fetch("/fragment" + query, { cache: "no-store" });
    try {
      const response = await fetching;
      if (response.ok) replace(await response.text());
    } catch { /* the stream says when we are back */ } finally {
      fetching = null;
      if (again) { again = false; refresh(); }
    }
  }

  function listen() {
    source?.close();
    source = new EventSource("/events" + query);
    const heard = (event) => {
      heardAt = Date.now();
      learnClock(JSON.parse(event.data).now);
      showLink(true);
    };
    source.addEventListener("heard", heard);
    source.addEventListener("verdict", (event) => { heard(event); refresh(); });
    source.addEventListener("error", () => showLink(false));
  }

  learnClock(root().dataset.now);
  listen();
  setInterval(() => {
    countAges();
    const silent = Date.now() - heardAt > SILENCE;
    if (silent || document.body.classList.contains("lost")) showLink(false);
    if (source.readyState === EventSource.CLOSED || (silent && Date.now() - heardAt > 2 * SILENCE)) {
      if (!listen.last || Date.now() - listen.last > 3000) { listen.last = Date.now(); listen(); }
    }
  }, 1000);
})();
