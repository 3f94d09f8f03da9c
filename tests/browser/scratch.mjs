// Directories for the length of a test.
import { rmSync } from "node:fs";

/** Removes a directory to which a browser that was killed may still be writing: what it adds meanwhile is looked for again. */
export async function remove(directory) {
  for (let i = 0; i < 40; i++) {
    try {
      return rmSync(directory, { recursive: true, force: true });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
  console.error(`${directory} is still being written to, and stays`);
}
