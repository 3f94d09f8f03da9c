// The page in a real browser, as its owner sees it: sizes, light and dark, without scripts, by keyboard, heard, controlled,
// and watched while a parent dies and while the box itself does.
//
// node page.mjs WEIR MEDIA_DIRECTORY [DIRECTORY FOR SCREENSHOTS]
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { launch } from "./chrome.mjs";
import { end, node } from "./grid.mjs";
import { remove } from "./scratch.mjs";

const [weir, media, shots] = process.argv.slice(2);
const MAX_BYTES = 15 * 1024;
const TOKEN = "correct horse";
const work = mkdtempSync(join(tmpdir(), "weir-page-"));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const SHAPES = [
  { name: "desktop-light", width: 1280, height: 900 },
  { name: "desktop-dark", width: 1280, height: 900, dark: true },
  { name: "phone-light", width: 390, height: 844, phone: true },
  { name: "phone-dark", width: 390, height: 844, phone: true, dark: true },
  { name: "phone-narrow", width: 320, height: 640, phone: true },
  { name: "plain", width: 1280, height: 900, plain: true },
];

// Put into the page past its policy, as a person's own tools are.
const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

let failed = 0;
const check = (good, what) => {
  failed += !good;
  console.log(`${good ? "ok    " : "FAILED"} ${what}`);
};

/** The worst contrast of any text with what is behind it (WCAG 2.2, 1.4.3), and how many texts fall short. */
const CONTRAST = `(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; }
    return [255, 255, 255];
  };
  let worst = { ratio: 99 }, short = 0, texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), e = walker.currentNode.parentElement, style = getComputedStyle(e);
    if (!text || /SCRIPT|STYLE/.test(e.nodeName) || !e.getClientRects().length) continue;
    const ink = rgb(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
    // The gates of the stripe picture stand on their own ground.
    const gate = e.classList.contains("gate") && e.previousElementSibling;
    const ground = gate && getComputedStyle(gate).fill !== "none" ? rgb(getComputedStyle(gate).fill) : behind(e);
    const [a, b] = [luminance(ink), luminance(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 600) ? 3 : 4.5;
    texts++;
    if (ratio < least) short++;
    if (ratio < worst.ratio) worst = { ratio: Math.round(ratio * 100) / 100, text: text.slice(0, 40) };
  }
  return { worst, short, texts };
})()`;

async function looks(browser, box, shape) {
  const tab = await browser.open(box.http, shape);
  await tab.until("document.querySelector('.weir')", "the page is there");
  if (!shape.plain) {
    const seen = tab.requests.filter((url) => url.includes("/live")).length;
    for (const deadline = Date.now() + 20_000; tab.requests.filter((url) => url.includes("/live")).length < seen + 2; await sleep(100)) {
      if (Date.now() > deadline) throw new Error("the page is not live");
    }
    check((await tab.ask("shifted")) < 0.01, `${shape.name}: nothing moves about (layout shift ${(await tab.ask("shifted")).toFixed(4)})`);
  }
  const { worst, short, texts } = await tab.ask(CONTRAST);
  check(short === 0 && texts > 60, `${shape.name}: contrast of ${texts} texts, the least is ${worst.ratio} ("${worst.text}")`);
  if (!shape.plain) {
    await tab.ask(`${AXE}; 0`);
    const broken = await tab.ask("axe.run().then((found) => found.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target).join(' ')))");
    check(broken.length === 0, `${shape.name}: axe has nothing to complain of ${broken.join("; ")}`);
  }
  const wide = await tab.ask("[document.documentElement.scrollWidth, innerWidth]");
  check(wide[0] <= wide[1], `${shape.name}: no wider than the screen (${wide})`);
  check(tab.complaints.length === 0, `${shape.name}: the browser has nothing to complain of ${tab.complaints}`);
  check(tab.requests.every((url) => url.startsWith(box.http) || url.startsWith("data:")), `${shape.name}: nothing from elsewhere`);
  if (shots) writeFileSync(join(shots, `${shape.name}.png`), await tab.shoot());
  await tab.close();
}

async function named(browser, box) {
  const tab = await browser.open(box.http, SHAPES[0]);
  await tab.until("document.querySelector('.weir .on')");
  const { nodes } = await tab.tell("Accessibility.getFullAXTree");
  const seen = nodes.filter((n) => !n.ignored).map((n) => ({ role: n.role?.value, name: n.name?.value ?? "" }));
  const roles = new Set(seen.map((n) => n.role));
  for (const landmark of ["banner", "main", "contentinfo"]) check(roles.has(landmark), `landmark ${landmark}`);
  const mute = seen.filter((n) => ["button", "link", "textbox", "combobox", "image", "img", "region", "table", "Audio", "Video"].includes(n.role) && !n.name && n.role !== "table");
  check(mute.length === 0, `everything that can be used or looked at has a name ${JSON.stringify(mute)}`);
  const levels = await tab.ask("[...document.querySelectorAll('h1,h2,h3')].map((h) => +h.nodeName[1])");
  check(levels[0] === 1 && levels.every((l, i) => i === 0 || l <= levels[i - 1] + 1), `headings go down a step at a time (${levels.length} of them)`);
  const key = (k) => tab.tell("Input.dispatchKeyEvent", { type: "keyDown", key: k, code: k, windowsVirtualKeyCode: 9 })
    .then(() => tab.tell("Input.dispatchKeyEvent", { type: "keyUp", key: k, code: k, windowsVirtualKeyCode: 9 }));
  const reached = new Set();
  let outlined = true;
  for (let i = 0; i < 40; i++) {
    await key("Tab");
    const at = await tab.ask("(() => { const e = document.activeElement, s = getComputedStyle(e); return [e.className || e.id || e.name || e.nodeName, s.outlineStyle, e.matches('audio,video')]; })()");
    reached.add(at[0]);
    outlined &&= at[1] !== "none" || at[2] || at[0] === "BODY";
  }
  check(reached.has("skip") && reached.has("token") && reached.has("SUMMARY"), `the keyboard reaches ${reached.size} places`);
  check(outlined, "and shows where it is");
  const live = await tab.ask("document.querySelectorAll('[aria-live=polite]').length");
  check(live >= 2, `what changes is said politely (${live} places)`);
  await tab.close();
}

/** While all is well nothing is read aloud, however its figures change: a source counts every byte in its verdict. */
async function quiet(browser, box) {
  const tab = await browser.open(box.http, SHAPES[0]);
  await tab.until("document.getElementById('verdict')");
  await tab.ask(`window.aloud = []; new MutationObserver((all) => all.forEach(({ target }) =>
    (target.closest ? target : target.parentElement).closest("[aria-live]") && aloud.push(target.textContent)))
    .observe(document, { childList: true, characterData: true, subtree: true }); window.before = document.title`);
  await tab.until("document.title !== before", "the verdict's figures change");
  await sleep(4500);
  const aloud = await tab.ask("aloud");
  check(aloud.length === 0, `figures that change are not read aloud ${JSON.stringify(aloud)}`);
  await tab.close();
}

/** Seconds heard and bytes decoded so far. */
const HEARD = "(() => { const a = document.querySelector('audio'); return [a.currentTime, a.webkitAudioDecodedByteCount]; })()";

async function heardWhileAParentDies(browser, box, relays) {
  const tab = await browser.open(box.http, SHAPES[0]);
  await tab.until("document.querySelector('.weir .on')");
  await tab.ask("window.player = document.querySelector('audio'); player.muted = true; player.play()");
  await tab.until("player.currentTime > 3", "three seconds are heard");
  // Now that it is played here the box takes enough stripes; one of its parents dies.
  const port = (relay) => relay.udp.split(":").pop();
  const drawn = (relay) => `document.querySelector('.weir').textContent.includes(":${port(relay)}")`;
  await tab.until(relays.map(drawn).join(" || "), "a relay is among the parents");
  let victim = null;
  for (const relay of relays) if (await tab.ask(drawn(relay))) victim ??= relay;
  const before = await tab.ask(HEARD);
  victim.child.removeAllListeners("exit");
  victim.child.kill("SIGKILL");
  const died = Date.now();
  await tab.until(`!(${drawn(victim)})`, "the dead parent is gone from the picture");
  check(true, `a parent that died is replaced in the picture after ${((Date.now() - died) / 1000).toFixed(1)} s`);
  await sleep(8000);
  const after = await tab.ask(HEARD);
  const [played, wall] = [after[0] - before[0], (Date.now() - died) / 1000];
  check(played > wall - 1.5, `${played.toFixed(1)} s heard in the ${wall.toFixed(1)} s after it, ${after[1] - before[1]} bytes decoded`);
  check(after[1] > before[1] && (await tab.ask("player === document.querySelector('audio') && !player.error")), "by the same player");
  const gaps = await tab.ask("fetch('/status.json').then((r) => r.json()).then((s) => s.streams[0].gaps_total)");
  check(gaps === 0, "and nothing is missing");
  check(await tab.ask("document.querySelector('.events').textContent.includes('Neighbour')"), "what happened is told");
  if (shots) writeFileSync(join(shots, "heard.png"), await tab.shoot());
  // In the background it asks for nothing.
  await tab.ask("Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true }); window.away = true");
  await sleep(2500);
  const asked = tab.requests.length;
  await sleep(5000);
  check(tab.requests.length === asked, "a page in the background asks for nothing");
  await tab.ask("window.away = false; document.dispatchEvent(new Event('visibilitychange'))");
  for (const deadline = Date.now() + 10_000; tab.requests.length === asked && Date.now() < deadline; ) await sleep(100);
  check(tab.requests.length > asked, "and goes on in the foreground");
  await tab.close();
}

async function controlled(browser, box) {
  const fill = (token) => `document.getElementById("token").value = ${JSON.stringify(token)}`;
  const press = (value) => `document.querySelector('button[value=${value}]').click()`;
  const tab = await browser.open(box.http, SHAPES[0]);
  await tab.until("document.querySelector('form')");
  await tab.ask(`${fill("wrong")}; ${press("pause")}`);
  await tab.until("document.getElementById('said').textContent.includes('not the token')", "a wrong token is refused");
  await tab.ask(`${fill(TOKEN)}; ${press("pause")}`);
  await tab.until("document.getElementById('verdict').textContent.startsWith('Relaying is paused')", "paused");
  check(true, "relaying is paused from the page, and a wrong token refused");
  if (shots) writeFileSync(join(shots, "paused.png"), await tab.shoot());
  await tab.close();
  // The same without a script: the form goes and the page comes back.
  const plain = await browser.open(box.http, SHAPES.find((shape) => shape.plain));
  await plain.until("document.querySelector('form')");
  await plain.ask(`${fill(TOKEN)}; ${press("resume")}`);
  await plain.until("document.getElementById('verdict') && !document.getElementById('verdict').textContent.includes('paused')", "resumed");
  check(true, "and goes on, by a form without scripts");
  await plain.close();
}

async function outlived(browser, start) {
  const box = await start();
  const tab = await browser.open(box.http, SHAPES[2]);
  await tab.until("document.querySelector('.weir')");
  box.child.removeAllListeners("exit");
  box.child.kill("SIGKILL");
  await tab.until("document.getElementById('verdict').textContent.includes('does not answer')", "it says that the box is gone");
  check(true, "a box that is gone is said to be gone");
  await start({ udp: box.udp, http: box.at });
  await tab.until("!document.getElementById('verdict').textContent.includes('does not answer')", "it comes back");
  check(true, "and its page comes back by itself");
  await tab.close();
}

async function main() {
  if (shots) mkdirSync(shots, { recursive: true });
  const key = join(work, "key");
  execFileSync(weir, ["keygen", "--out", key]);
  writeFileSync(join(work, "token"), TOKEN);
  const source = await node(weir, ["source", "--key", key, "--input", join(media, "tone.mp3"), "--repeat", "--name", "Harbour Radio",
    "--disclosure", "Listener-supported; no advertising. Made by volunteers in a shed by the sea.", "--max-children", "5"]);
  // Enough of them that one carries few of the stripes: that is what the spare one is for.
  const relays = [];
  for (let i = 0; i < 5; i++) relays.push(await node(weir, ["relay", source.uri]));
  const name = source.uri.split("/").pop();
  const through = `weir://${relays.map((relay) => relay.udp).join(",")}/${name}`;
  const start = (at) => node(weir, ["relay", through, "--control-token", join(work, "token"), "--upload-limit", "2Mbit"], at);
  const box = await start();
  // So that the box has somebody to help.
  for (let i = 0; i < 3; i++) await node(weir, ["listen", `weir://${box.udp}/${name}`, "--upload-limit", "0"]);
  const browser = launch(join(work, "profile"));
  try {
    for (const shape of SHAPES) await looks(browser, box, shape);
    await named(browser, box);
    await quiet(browser, source);
    await heardWhileAParentDies(browser, box, relays);
    await controlled(browser, box);
    await outlived(browser, start);
    const html = Buffer.from(await (await fetch(box.http)).arrayBuffer());
    const size = gzipSync(html, { level: 9 }).length;
    check(size <= MAX_BYTES, `the whole page is ${html.length} bytes, ${size} compressed`);
  } finally {
    browser.child.kill("SIGKILL");
  }
  return failed ? 1 : 0;
}

let status = 1;
try {
  status = await main();
} catch (error) {
  console.error(`FAILED ${error.stack}`);
} finally {
  await end();
  await remove(work);
}
process.exit(status);
