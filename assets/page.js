
"use strict";
// Keeps the page live from /status.json. The page says what goes where: data-v is a value's path, data-f its format, and the
// head of a table names its columns the same way, so nothing is described twice.
(() => {
  const POLL_MS = 2000;
  const scaled = (value, base, units) => {
    let i = 0;
    while (value >= base && i < units.length - 1) { value /= base; i++; }
    return (i ? (Math.floor(value * 10) / 10).toFixed(1) : value) + " " + units[i];
  };
  const rate = (v) => scaled(v, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
  const data = (v) => scaled(v, 1000, ["B", "kB", "MB", "GB", "TB"]);
  const limit = (format) => (v) => v === null ? "(no limit)" : "of " + format(v);
  const formats = {
    rate, data,
    memory: (v) => scaled(v, 1024, ["B", "KiB", "MiB", "GiB"]),
    ratelimit: limit(rate),
    datalimit: limit(data),
    lag: (v) => (Math.floor(v / 100) / 10).toFixed(1) + " s",
    ms: (v) => v === null ? "-" : v + " ms",
    short: (v) => String(v).slice(0, 8),
    text: (v) => v === null || v === undefined || v === "" ? "-" : String(v),
    time: (s) => {
      const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
      return d ? d + " d " + h + " h" : h ? h + " h " + m + " min" : m ? m + " min " + s % 60 + " s" : s + " s";
    },
  };
  const at = (object, path) => path.split(".").reduce((o, name) => o?.[name], object);
  const shown = (spec, object) => formats[spec.dataset.f || "text"](at(object, spec.dataset.v));
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  // Values and tables of `root` that do not belong to a stream's card inside it.
  const own = (root, selector) => [...root.querySelectorAll(selector)].filter((e) => e.parentElement.closest("article, body") === root);
  const row = (columns, item) => {
    const tr = document.createElement("tr");
    for (const column of columns) tr.insertCell().textContent = shown(column, item);
    return tr;
  };
  const fill = (root, object) => {
    for (const e of own(root, "[data-v]:not(th)")) put(e, shown(e, object));
    for (const body of own(root, "tbody[data-rows]")) {
      const columns = [...body.parentElement.tHead.rows[0].cells];
      body.replaceChildren(...object[body.dataset.rows].map((item) => row(columns, item)));
    }
  };

  const update = (status) => {
    document.body.dataset.state = status.state;
    document.title = status.verdict;
    fill(document.body, status);
    const cards = [...document.querySelectorAll("article")];
    const keys = status.streams.map((stream) => stream.key);
    const same = cards.length === keys.length && cards.every((card, i) => card.dataset.key === keys[i]);
    const playing = [...document.querySelectorAll("audio, video")].some((player) => !player.paused);
    if (!same && !playing) return location.reload();
    for (const card of cards) {
      const stream = status.streams.find((s) => s.key === card.dataset.key);
      if (stream) fill(card, stream);
    }
  };

  const poll = async () => {
    if (document.hidden) return document.addEventListener("visibilitychange", poll, { once: true });
    try {
      const answer = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(answer.statusText);
      update(await answer.json());
    } catch {
      document.body.dataset.state = "gone";
      put(document.getElementById("verdict"), "This node does not answer; what follows is old.");
    }
    setTimeout(poll, POLL_MS);
  };
  setTimeout(poll, POLL_MS);
})();
