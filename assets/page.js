
"use strict";
// Keeps the page live: fetches what changes, rendered by the server, and changes only what is different, so that players go
// on, the keyboard's place is kept and a screen reader hears what is new and no more.
(() => {
  const POLL_MS = 2000;
  const live = document.getElementById("live");
  const me = Math.floor(Math.random() * 1e9);
  const fits = (a, b) => a.nodeName === b.nodeName && a.id === b.id;

  const alike = (a, b) => {
    if (a.nodeType === Node.TEXT_NODE) { if (a.data !== b.data) a.data = b.data; return; }
    if (a.src && a.getAttribute("src") === b.getAttribute("src") || "keep" in a.dataset) return;
    for (const { name, value } of b.attributes) if (a.getAttribute(name) !== value) a.setAttribute(name, value);
    for (const { name } of [...a.attributes]) if (name !== "open" && !b.hasAttribute(name)) a.removeAttribute(name);
    let here = a.firstChild;
    for (const there of [...b.childNodes]) {
      const same = there.id && [...a.children].find((child) => fits(child, there));
      while (same && here && here !== same) { const next = here.nextSibling; here.remove(); here = next; }
      if (here && fits(here, there)) { alike(here, there); here = here.nextSibling; }
      else a.insertBefore(there, here);
    }
    while (here) { const next = here.nextSibling; here.remove(); here = next; }
  };

  let timer = 0;
  const poll = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    let pause = POLL_MS;
    try {
      const answer = await fetch("/live?viewer=" + me, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (answer.ok) alike(live, new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live"));
      else pause *= 10;
    } catch {
      live.dataset.state = "gone";
      for (const id of ["verdict", "aloud"]) document.getElementById(id).textContent = "This box does not answer; what follows is old.";
    }
    document.title = document.getElementById("verdict").textContent;
    timer = setTimeout(poll, pause);
  };
  document.addEventListener("visibilitychange", poll);
  timer = setTimeout(poll, POLL_MS);

  // A player whose stream broke off begins again when it can, unless its listener stopped it.
  const again = ({ target }) => {
    if (target.matches?.("audio,video") && target.dataset.on) setTimeout(() => { target.load(); target.play().catch(() => {}); }, 3000);
  };
  for (const name of ["error", "ended"]) document.addEventListener(name, again, true);
  document.addEventListener("play", (event) => (event.target.dataset.on = 1), true);
  document.addEventListener("pause", ({ target }) => { if (!target.ended && !target.error) delete target.dataset.on; }, true);

  document.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target, said = document.getElementById("said");
    try {
      const body = new URLSearchParams(new FormData(form, event.submitter));
      const answer = await fetch("/control", { method: "POST", body, redirect: "manual" });
      said.textContent = answer.type === "opaqueredirect" ? "Done." : await answer.text();
    } catch {
      said.textContent = "This box does not answer.";
    }
    poll();
  });
})();
