// Chromium by its own protocol over a pipe: https://chromedevtools.github.io/devtools-protocol/. No package needed.
import { spawn } from "node:child_process";

const FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --hide-scrollbars " +
  "--disable-component-update --disable-sync --mute-audio --autoplay-policy=no-user-gesture-required --remote-debugging-pipe";

/** Starts the browser with this directory for its profile. */
export function launch(profile) {
  const child = spawn("chromium", [...FLAGS.split(" "), `--user-data-dir=${profile}`, "about:blank"], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const [waiting, listeners] = [new Map(), []];
  let [next, rest] = [1, ""];
  child.stdio[4].on("data", (data) => {
    const messages = (rest + data).split("\0");
    rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      const { resolve, reject } = waiting.get(message.id) ?? {};
      waiting.delete(message.id);
      if (message.error) reject?.(new Error(JSON.stringify(message.error)));
      else if (resolve) resolve(message.result);
      else listeners.forEach((listen) => listen(message));
    }
  });
  const send = (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      waiting.set(next, { resolve, reject });
      child.stdio[3].write(JSON.stringify({ id: next++, method, params, sessionId }) + "\0");
    });
  return { child, open: (url, shape) => open({ send, listeners }, url, shape) };
}

/** A tab: `shape` has width, height, phone, dark and plain (no scripts). */
async function open({ send, listeners }, url, { width, height, phone, dark, plain }) {
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const tell = (method, params) => send(method, params, sessionId);
  const tab = { complaints: [], requests: [], tell };
  listeners.push(({ method, params, sessionId: from }) => {
    if (from !== sessionId) return;
    if (method === "Network.requestWillBeSent") tab.requests.push(params.request.url);
    if (method === "Log.entryAdded" && params.entry.level === "error" && params.entry.source !== "network") {
      tab.complaints.push(params.entry.text);
    }
    if (method === "Runtime.exceptionThrown") tab.complaints.push(params.exceptionDetails.exception?.description);
  });
  for (const domain of ["Page", "Network", "Log", "Runtime", "Accessibility"]) await tell(`${domain}.enable`);
  await tell("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: !!phone });
  await tell("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
  if (plain) await tell("Emulation.setScriptExecutionDisabled", { value: true });
  await tell("Page.addScriptToEvaluateOnNewDocument", {
    source: `window.shifted = 0; new PerformanceObserver((list) => list.getEntries().forEach((e) => (shifted += e.value)))
      .observe({ type: "layout-shift", buffered: true });`,
  });
  await tell("Page.navigate", { url });
  /** The value of an expression in the page. */
  tab.ask = async (expression) => {
    const { result, exceptionDetails } = await tell("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? expression);
    return result.value;
  };
  /** Waits until an expression is true. */
  tab.until = async (expression, what = expression, seconds = 30) => {
    for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; ) {
      if (await tab.ask(`!!(${expression})`).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`never: ${what}; the page says: ${await tab.ask("document.body.innerText.slice(0, 600)")}`);
  };
  tab.shoot = async () => Buffer.from((await tell("Page.captureScreenshot", { captureBeyondViewport: true })).data, "base64");
  tab.close = () => send("Target.closeTarget", { targetId });
  return tab;
}
