// Starts a source, a relay and a server with LuCI's stand-ins, opens both pages in Chromium and looks at what they show.
import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { remove } from "../browser/scratch.mjs";

const weir = process.argv[2];
const here = dirname(fileURLToPath(import.meta.url));
const app = join(here, "../../boards/openwrt/luci-app-weir");
const work = mkdtempSync(join(tmpdir(), "weir-luci-"));
const children = [];

function start(...args) {
  const child = spawn(weir, [...args, "--bind", "127.0.0.1:0"]);
  children.push(child);
  let [out, log] = ["", ""];
  return new Promise((resolve, reject) => {
    const look = () => {
      const at = log.match(/udp (\S+), page and players at (http:\/\/[^/]+)/);
      if (at && (args[0] !== "source" || out.includes("\n"))) resolve({ child, uri: out.split("\n")[0], http: at[2] });
    };
    child.stdout.on("data", (text) => ((out += text), look()));
    child.stderr.on("data", (text) => ((log += text), look()));
    child.on("exit", () => reject(new Error(`weir ${args.join(" ")}: ${log}`)));
  });
}

// What rpcd runs, with uci, jshn and the program where the script looks for them.
let httpOption = "";
function rpcd(method) {
  const bin = join(work, "bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, "uci"), `#!/bin/sh\necho '${httpOption}'\n`);
  chmodSync(join(bin, "uci"), 0o755);
  writeFileSync(
    join(work, "jshn.sh"),
    `json_init() { :; }\njson_add_string() { TEXT=$(printf '%s' "$2" | sed 's/[\\\\"]/\\\\&/g'); KEY=$1; }\njson_dump() { printf '{ "%s": "%s" }' "$KEY" "$TEXT"; }\n`,
  );
  const script = readFileSync(join(app, "root/usr/libexec/rpcd/luci.weir"), "utf8")
    .replace("/usr/share/libubox/jshn.sh", join(work, "jshn.sh"))
    .replace("/usr/bin/weir", weir);
  writeFileSync(join(work, "luci.weir"), script);
  return new Promise((resolve, reject) => {
    execFile("busybox", ["ash", join(work, "luci.weir"), "call", method], { env: { PATH: `${bin}:${process.env.PATH}` } }, (error, out) =>
      error ? reject(error) : resolve(out),
    );
  });
}

const acl = JSON.parse(readFileSync(join(app, "root/usr/share/rpcd/acl.d/luci-app-weir.json"), "utf8"))["luci-app-weir"];
const menu = JSON.parse(readFileSync(join(app, "root/usr/share/luci/menu.d/luci-app-weir.json"), "utf8"));
const views = Object.values(menu).flatMap(({ action }) => (action.type === "view" ? [action.path] : []));

const page = `<!doctype html><meta charset=utf-8><title>LuCI</title><style>body{font:14px sans-serif;margin:2em}
table{border-collapse:collapse}td,th{padding:.3em .8em;text-align:left}.cbi-value{margin:.5em 0}label{display:inline-block;width:14em}
.cbi-progressbar{border:1px solid #999;width:20em;height:1.2em}.cbi-progressbar div{background:#8bf;height:100%}</style>
<main></main><script src=/luci.js></script><script>window.onerror = (m) => post({ error: String(m) });
const post = (result) => fetch("/result", { method: "POST", body: JSON.stringify(result) });
const wanted = new URLSearchParams(location.search);
(async () => {
  const view = await show(wanted.get("view"));
  const text = () => document.querySelector("main").innerText;
  const options = modules.form.last?.sections.flatMap((section) => section.options) ?? [];
  const checks = Object.fromEntries(options.map((option) => [option.name, JSON.parse(wanted.get("try"))[option.name]?.map(
    (value) => option.validate(null, value) === true)]));
  const first = text();
  for (const { ask } of polled) await ask();
  post({ first, second: text(), polled: polled.map((p) => p.seconds), checks, buttons: view.handleSave === null });
})().catch((error) => post({ error: String(error.stack) }));
</script>`;

let received;
const server = http.createServer(async (request, answer) => {
  const url = new URL(request.url, "http://luci");
  let body = "";
  for await (const part of request) body += part;
  if (url.pathname === "/") return answer.setHeader("content-type", "text/html").end(page);
  if (url.pathname === "/luci.js") return answer.setHeader("content-type", "text/javascript").end(readFileSync(join(here, "luci.js")));
  if (url.pathname.startsWith("/view/"))
    return answer.end(readFileSync(join(app, "htdocs/luci-static/resources", url.pathname)));
  if (url.pathname === "/ubus") {
    const { object, method } = JSON.parse(body);
    // rpcd asks the session's rights first.
    if (!acl.read.ubus[object]?.includes(method)) return answer.writeHead(403).end();
    return answer.end(await rpcd(method));
  }
  if (url.pathname === "/result") received(JSON.parse(body));
  answer.end();
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const base = `http://127.0.0.1:${server.address().port}`;

async function open(view, tries = {}) {
  const url = `${base}/?view=${view}&try=${encodeURIComponent(JSON.stringify(tries))}`;
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,1200", `--user-data-dir=${join(work, "profile")}`];
  const result = new Promise((resolve) => (received = resolve));
  const browser = spawn("chromium", [...flags, "--remote-debugging-port=0", url], { stdio: "ignore" });
  children.push(browser);
  const late = new Promise((_, reject) => setTimeout(reject, 90_000, new Error(`${view}: the browser says nothing`)));
  const got = await Promise.race([result, late]);
  browser.kill("SIGKILL");
  await new Promise((gone) => browser.on("exit", gone));
  if (got.error) throw new Error(`${view}: ${got.error}`);
  if (process.env.LUCI_PICTURES) {
    received = () => {};
    const picture = join(process.env.LUCI_PICTURES, `luci-${view.replace("/", "-")}.png`);
    await new Promise((done) =>
      execFile("chromium", [...flags, `--screenshot=${picture}`, "--virtual-time-budget=8000", url], { timeout: 60_000 }, done),
    );
  }
  return got;
}

let passed = 0;
function check(what, good, shown) {
  if (!good) throw new Error(`not so: ${what}\n${JSON.stringify(shown, null, 1)}`);
  passed++;
  console.log(`  ${what}`);
}

try {
  const key = join(work, "key");
  await new Promise((done, no) => execFile(weir, ["keygen", "--out", key], (error) => (error ? no(error) : done())));
  const loop = join(here, "../../assets/loop.mp3");
  const name = 'Harbour <b id=bold>Radio</b>';
  const source = await start("source", "--key", key, "--input", loop, "--repeat", "--name", name, "--disclosure", "Listener-supported.", "--http", "127.0.0.1:0");
  const relay = await start("relay", source.uri, "--http", "0.0.0.0:0", "--upload-limit", "2Mbit");
  const listener = await start("listen", `weir://127.0.0.1:${(await status(relay)).udp}/${source.uri.split("/").pop()}`, "--http", "127.0.0.1:0");
  listener.child.stdout.resume();
  httpOption = relay.http.replace("http://", "");
  const deadline = Date.now() + 60_000;
  for (let state; state !== "live"; ) {
    const now = JSON.parse(await rpcd("status"));
    state = now.streams?.[0]?.title ? now.streams[0].state : undefined;
    if (Date.now() > deadline) throw new Error(`the relay does not come up: ${JSON.stringify(now)}`);
    await new Promise((wait) => setTimeout(wait, 200));
  }
  check("the menu names views that are there", views.length === 2 && views.every((path) => readFileSync(join(app, "htdocs/luci-static/resources/view", `${path}.js`))), views);

  const shown = await open("weir/status");
  check("a verdict comes first", /^weir\s+Live streams[^\n]*\s+\S.*Harbour <b id=bold>Radio<\/b>/.test(shown.first), shown.first);
  check("a title from outside is text", shown.first.includes(name), shown.first);
  check("upload against its limit, streams and neighbours", ["Upload now", "Streams", "Neighbours", "Listener-supported.", "live"].every((word) => shown.first.includes(word)), shown.first);
  check("it asks again every 5 s, and nothing can be saved there", shown.polled.join() === "5" && shown.buttons, shown.polled);

  const settings = await open("weir/settings", {
    stream: [source.uri, "http://x/y", "weir://a:1/short"],
    upload_limit: ["2Mbit", "1.5Mbit", "0", "unlimited", "2MB", "fast"],
    quota: ["200GB", "0", "2Mbit"],
    memory: ["8MiB", "lots"],
    http: ["127.0.0.1:8480", "[::1]:8480", "localhost:8480", "8480"],
    burst: ["2s", "500ms", "two"],
  });
  check("settings: what weir takes is taken, and nothing else", JSON.stringify([settings.checks.stream, settings.checks.upload_limit, settings.checks.quota, settings.checks.memory, settings.checks.http, settings.checks.burst]) ===
    JSON.stringify([[true, false, false], [true, true, true, true, false, false], [true, true, false], [true, false], [true, true, false, false], [true, true, false]]), settings.checks);

  relay.child.removeAllListeners("exit");
  relay.child.kill("SIGKILL");
  await new Promise((gone) => relay.child.on("exit", gone));
  const gone = await open("weir/status");
  check("a relay that does not run is said", gone.first.includes("The relay is not running: nothing answers at"), gone.first);
  console.log(`luci: ${passed} passed, 0 failed`);
} catch (error) {
  console.error(`FAILED: ${error.stack}`);
  process.exitCode = 1;
} finally {
  for (const child of children) {
    child.removeAllListeners("exit");
    child.kill("SIGKILL");
  }
  server.close();
  server.closeAllConnections();
  await remove(work);
}

/** The UDP port of a relay, from its own status: its URI names it. */
async function status({ http: address }) {
  const answer = await fetch(`${address.replace("0.0.0.0", "127.0.0.1")}/status.json`);
  const { streams } = await answer.json();
  return { udp: streams[0].uri.match(/:(\d+)\//)[1] };
}
