// Streams of each kind that a browser plays, in a real one: media elements for MP3, Ogg and WebM, hls.js for the rest.
// Starts a source for each, a relay for all but one of them, a page, and the browser; prints what was decoded.
//
// node tour.mjs WEIR MEDIA_DIRECTORY
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { remove } from "./scratch.mjs";

const [weir, media] = process.argv.slice(2);
const PLAY_S = 10;
const KINDS = [
  { file: "tone.mp3", tag: "audio" },
  { file: "tone.ogg", tag: "audio" },
  { file: "film.webm", tag: "video" },
  { file: "film.mp4", tag: "video" },
  { file: "film.ts", tag: "video", hls: true },
  { file: "fragments.mp4", tag: "video", hls: true },
  { file: "hls.mp3", tag: "audio", hls: true },
  { file: "hls.aac", tag: "audio", hls: true },
];
const work = mkdtempSync(join(tmpdir(), "weir-browser-"));
const children = [];

/** Starts a node; resolves to its first line on stdout and where it serves players. */
function node(...args) {
  const child = spawn(weir, [...args, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
  children.push(child);
  let [out, log] = ["", ""];
  return new Promise((resolve, reject) => {
    const look = () => {
      const at = log.match(/udp (\S+), page and players at (http:\/\/[^/]+)/);
      const uri = out.split("\n")[0];
      if (at && (args[0] !== "source" || out.includes("\n"))) resolve({ uri, udp: at[1], http: at[2] });
    };
    child.stdout.on("data", (text) => ((out += text), look()));
    child.stderr.on("data", (text) => ((log += text), look()));
    child.on("exit", () => reject(new Error(`weir ${args.join(" ")}: ${log}`)));
  });
}

const page = (streams) => `<!doctype html><meta charset=utf-8><script src=/hls.js></script><script>
const streams = ${JSON.stringify(streams)}, results = {};
for (const { name, tag, url, hls } of streams) {
  const media = document.createElement(tag), result = results[name] = { errors: [], drift_s: 0 };
  media.muted = true;
  media.onerror = () => result.errors.push(media.error.message || "error " + media.error.code);
  document.documentElement.append(media);
  if (hls) {
    const player = new Hls();
    player.on(Hls.Events.ERROR, (_, data) => data.fatal && result.errors.push(data.details));
    // How far segments are from where the playlist's lengths put them.
    player.on(Hls.Events.LEVEL_PTS_UPDATED, (_, { drift }) => (result.drift_s = Math.max(result.drift_s, Math.abs(drift))));
    player.loadSource(url);
    player.attachMedia(media);
  } else {
    media.src = url;
  }
  media.play().catch((error) => result.errors.push(String(error)));
  media.onplaying = () => { result.from ??= media.currentTime; result.since ??= performance.now(); };
  result.look = () => {
    const quality = media.getVideoPlaybackQuality?.();
    return {
      played_s: media.currentTime - (result.from ?? media.currentTime),
      pictures: quality?.totalVideoFrames ?? 0,
      audio_bytes: media.webkitAudioDecodedByteCount ?? 0,
      startup_ms: Math.round(result.since ?? -1),
      stretches: media.buffered.length,
      drift_s: result.drift_s,
      errors: result.errors,
    };
  };
}
const enough = () => Object.values(results).every((r) => r.look().played_s >= ${PLAY_S} || r.errors.length);
const asked = performance.now();
const timer = setInterval(() => {
  if (!enough() && performance.now() - asked < 40000) return;
  clearInterval(timer);
  const found = Object.fromEntries(Object.entries(results).map(([name, r]) => [name, r.look()]));
  fetch("/result", { method: "POST", body: JSON.stringify(found) });
}, 250);
</script>`;

/** Serves the page, hls.js and the streams from one origin; resolves to what the page reports. */
function serve(streams, browse) {
  return new Promise((resolve, reject) => {
    const shown = streams.map((stream, i) => ({ ...stream, url: `/${i}${stream.path}` }));
    const server = http.createServer((request, response) => {
      if (request.url === "/") return response.setHeader("content-type", "text/html"), response.end(page(shown));
      if (request.url === "/hls.js") {
        return response.end(readFileSync(new URL("node_modules/hls.js/dist/hls.min.js", import.meta.url)));
      }
      if (request.url === "/result") {
        let body = "";
        request.on("data", (text) => (body += text));
        return request.on("end", () => (response.end(), resolve(JSON.parse(body))));
      }
      const [, i, path] = request.url.match(/^\/(\d+)(\/.*)$/) ?? [];
      if (i === undefined) return (response.statusCode = 404), response.end();
      const { user_agent, ...headers } = request.headers;
      const upstream = http.get(streams[i].at + path, { headers: { range: headers.range ?? "bytes=0-" } }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      upstream.on("error", () => response.destroy());
      response.on("close", () => upstream.destroy());
    });
    server.listen(0, "127.0.0.1", () => browse(`http://127.0.0.1:${server.address().port}/`));
    setTimeout(() => reject(new Error("the browser never reported")), 60_000).unref();
  });
}

function browse(url) {
  const flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking " +
    "--disable-component-update --disable-sync --mute-audio --autoplay-policy=no-user-gesture-required";
  const profile = `--user-data-dir=${join(work, "profile")}`;
  children.push(spawn("chromium", [...flags.split(" "), profile, url], { stdio: "ignore" }));
}

async function main() {
  const streams = [];
  for (const { file, tag, hls } of KINDS) {
    const key = join(work, `${file}.key`);
    execFileSync(weir, ["keygen", "--out", key]);
    const source = await node("source", "--key", key, "--input", join(media, file), "--repeat");
    const name = source.uri.split("/").pop();
    // Behind a relay, which takes the stream because the browser asks for it.
    const relay = await node("relay", source.uri);
    const path = `/streams/${name}${hls ? "/index.m3u8" : ""}`;
    streams.push({ name: hls ? `${file} by HLS` : file, tag, hls, path, at: relay.http });
  }
  const found = await serve(streams, browse);
  let failed = 0;
  for (const { name, tag, hls } of streams) {
    const { played_s, pictures, audio_bytes, startup_ms, errors, stretches, drift_s } = found[name];
    // hls.js leaves the last frame out; in MPEG-TS, sound is sent up to some tenths of a second before its pictures.
    const joins = stretches === 1 && drift_s < (name.includes(".ts ") ? 0.5 : 0.03);
    const good = played_s >= PLAY_S && !errors.length && (tag === "audio" || pictures > PLAY_S * 20) && audio_bytes > 0 && (!hls || joins);
    failed += !good;
    console.log(
      `${good ? "ok    " : "FAILED"} ${name}: ${played_s.toFixed(1)} s played, ${pictures} pictures, ` +
        `${audio_bytes} bytes of sound, begun after ${startup_ms} ms` +
        `${hls ? `, in ${stretches} stretch, ${Math.round(drift_s * 1e6)} µs off` : ""} ${errors.join("; ")}`,
    );
  }
  console.log(`${streams.length - failed} passed, ${failed} failed`);
  return failed ? 1 : 0;
}

let status = 1;
try {
  status = await main();
} catch (error) {
  console.error(String(error));
} finally {
  for (const child of children) child.removeAllListeners("exit"), child.kill("SIGKILL");
  await remove(work);
}
process.exit(status);
