// Nodes for the browser to look at: started on free ports, known by what they say.
import { spawn } from "node:child_process";

export const children = [];

/** Starts a node; resolves to its first line on stdout, where it is, and itself. */
export function node(weir, args, { udp = "127.0.0.1:0", http = "127.0.0.1:0" } = {}) {
  const child = spawn(weir, [...args, "--bind", udp, "--http", http]);
  children.push(child);
  let [out, log] = ["", ""];
  return new Promise((resolve, reject) => {
    const look = () => {
      const at = log.match(/udp (\S+), page and players at http:\/\/([^/]+)/);
      if (at && (args[0] !== "source" || out.includes("\n"))) {
        resolve({ uri: out.split("\n")[0], udp: at[1], at: at[2], http: `http://${at[2]}`, child });
      }
    };
    // A listener's stream is let go.
    child.stdout.on("data", (text) => args[0] === "source" && ((out += text), look()));
    child.stderr.on("data", (text) => ((log = (log + text).slice(-100_000)), look()));
    child.on("exit", () => reject(new Error(`weir ${args.join(" ")}: ${log}`)));
  });
}

/** Ends all of them, at once. */
export async function end() {
  for (const child of children) child.removeAllListeners("exit"), child.kill("SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 200));
}
