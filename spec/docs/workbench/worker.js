// Runs the workbench of neffos_conformance in Pyodide, apart from the page: it may take seconds.
import { loadPyodide } from "./pyodide/pyodide.mjs";

const files = ["neffos-wire.zip", "msgspec.whl"];

async function start() {
  const [pyodide, ...archives] = await Promise.all([loadPyodide(), ...files.map(fetched)]);
  for (const archive of archives) {
    pyodide.unpackArchive(archive, "zip");
  }
  return pyodide.runPython(`
    from neffos_conformance.recordings.workbench import Workbench
    call = Workbench().call
    lambda method, values, data, read: call(method, values, data.to_bytes(), read)
  `);
}

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) {
    throw new Error(`${name}: ${response.status}`);
  }
  return response.arrayBuffer();
}

const started = start();
started.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ failed: String(error.message ?? error) }),
);

onmessage = async ({ data: { id, method, values, data } }) => {
  try {
    const call = await started;
    const read = (size) => postMessage({ id, read: size });
    const bytes = new Uint8Array(data ?? 0);
    postMessage({ id, answer: call(method, JSON.stringify(values), bytes, read) });
  } catch (error) {
    postMessage({ id, answer: JSON.stringify({ problem: String(error.message ?? error) }) });
  }
};
