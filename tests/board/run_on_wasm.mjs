// Runs a MicroPython script in the 32-bit WebAssembly build: node run_on_wasm.mjs MODULE FOLDER... SCRIPT [ARGUMENT...]
// MODULE is micropython.mjs; the .py files of each FOLDER, and of the packages in it, are importable by the script.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

const HEAP_BYTES = 8 * 1024 * 1024; // this build's heap grows by itself; a small one only collects more often

function copyModules(fs, folder, target) {
  fs.mkdirTree(target);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !entry.name.startsWith("__")) {
      copyModules(fs, path, `${target}/${entry.name}`);
    } else if (entry.name.endsWith(".py")) {
      fs.writeFile(`${target}/${entry.name}`, readFileSync(path));
    }
  }
}

const [modulePath, ...rest] = process.argv.slice(2);
const at = rest.findIndex((path) => path.endsWith(".py"));
const folders = rest.slice(0, at);
const script = rest[at];
const { loadMicroPython } = await import(modulePath);
const interpreter = await loadMicroPython({ heapsize: HEAP_BYTES, stdout: (line) => console.log(line) });
interpreter.FS.mkdirTree("/suite");
interpreter.FS.chdir("/suite");
folders.forEach((folder, number) => copyModules(interpreter.FS, folder, `/lib${number}`));
const path = folders.map((_, number) => `/lib${number}`).concat(".frozen");
const argv = [basename(script), ...rest.slice(at + 1)];
interpreter.runPython(`import sys; sys.path[:] = ${JSON.stringify(path)}; sys.argv[:] = ${JSON.stringify(argv)}`);
try {
  interpreter.runPython(`${readFileSync(script, "utf8")}`);
} catch (error) {
  console.log(error.message);
  process.exitCode = 1;
}
