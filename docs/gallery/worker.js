// The Worker of the gallery: it fetches and checks files, and runs networks in onnxruntime-web, in one thread.

import { chooseToken, fetchChecked, listNotes, renderNotes } from "./helpers.js";

const base = new URL("dist/", import.meta.url);
const contents = new Map();
const sessions = new Map();
let loads = Promise.resolve();
let ort;

/** Fetch files of the manifest that are not here yet, and open those that are networks; one load after the other. */
function load(given, id) {
  loads = loads.catch(() => {}).then(() => fetchAndOpen(given, id));
  return loads;
}

async function fetchAndOpen({ names, files, runtime }, id) {
  const total = names.reduce((sum, name) => sum + files[name].bytes, 0);
  let done = 0;
  for (const name of names) {
    const tell = (bytes) => postMessage({ id, progress: [done + bytes, total] });
    if (!contents.has(name)) contents.set(name, await fetchChecked(new URL(name, base).href, files[name], tell));
    done += files[name].bytes;
  }
  ort ??= await startRuntime(runtime);
  for (const name of names.filter((each) => each.endsWith(".onnx") && !sessions.has(each))) {
    sessions.set(name, await ort.InferenceSession.create(contents.get(name), { executionProviders: ["wasm"] }));
    contents.set(name, null); // the session has its own copy
  }
}

async function startRuntime({ module, wasm }) {
  // The bytes that were checked are run, and not those that a second request would bring.
  const url = URL.createObjectURL(new Blob([contents.get(module)], { type: "text/javascript" }));
  const loaded = await import(url);
  URL.revokeObjectURL(url);
  loaded.env.wasm.numThreads = 1; // threads need headers that many hosts cannot send
  loaded.env.wasm.wasmBinary = contents.get(wasm);
  for (const name of [module, wasm]) contents.set(name, null); // onnxruntime-web has them now
  return loaded;
}

/** Run a network: inputs and outputs are { data, dims } by name. */
async function run({ network, inputs }) {
  const given = {};
  for (const [name, { data, dims }] of Object.entries(inputs)) {
    given[name] = new ort.Tensor(data instanceof BigInt64Array ? "int64" : "float32", data, dims);
  }
  const found = await sessions.get(network).run(given);
  return Object.fromEntries(Object.entries(found).map(([name, { data, dims }]) => [name, { data, dims }]));
}

/** Write a text token by token, from a number in [0, 1) for each. */
async function write({ network, state, uniforms, temperature }) {
  let token = 0; // what a text starts with
  let memory = { data: new Float32Array(state.reduce((a, b) => a * b)), dims: state };
  const tokens = [];
  for (const uniform of uniforms) {
    const inputs = { token: { data: BigInt64Array.of(BigInt(token)), dims: [1] }, state: memory };
    const { logits, next_state } = await run({ network, inputs });
    token = chooseToken(logits.data, uniform, temperature);
    memory = next_state;
    tokens.push(token);
  }
  return tokens;
}

/** Make the notes and the sound of a score [1, V + 1, T, P]. */
async function play({ network, inputs, stepsOfBar, lowest, bpm }) {
  const { samples } = await run({ network, inputs });
  const [, rolls, steps, pitches] = samples.dims;
  const voices = rolls - 1;
  const notes = listNotes(samples.data, voices, steps, pitches);
  return { notes, steps, pitches, sound: renderNotes(notes, { voices, steps, stepsOfBar, lowest, bpm }) };
}

const ACTIONS = { load, run, write, play, read: ({ name }) => contents.get(name) };

onmessage = async ({ data: { id, action, ...given } }) => {
  try {
    postMessage({ id, result: await ACTIONS[action](given, id) });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
};
