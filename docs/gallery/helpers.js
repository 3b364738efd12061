// What the gallery computes without a page: latents, pixels, tokens, sounds, digests, and rounds of guessing.
// No DOM and no library, so that Node can import it: tests/test_gallery.py compares it with Python.

export const LEVELS = 127.5; // from a sample in [-1, 1] to 255 levels

/** Interpolate between two latents on the sphere: `start` at share 0, `end` at share 1; as zoo.gan.slerp. */
export function slerp(start, end, share) {
  let [dot, squareA, squareB] = [0, 0, 0];
  for (let i = 0; i < start.length; i++) {
    dot += start[i] * end[i];
    squareA += start[i] ** 2;
    squareB += end[i] ** 2;
  }
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(squareA * squareB))));
  const sine = Math.sin(angle);
  const [a, b] = sine > 1e-6 ? [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine] : [1 - share, share];
  return Float32Array.from(start, (value, i) => a * value + b * end[i]);
}

/** Append a class to a latent, one-hot. */
export function addClass(latent, label, classes) {
  const row = new Float32Array(latent.length + classes);
  row.set(latent);
  row[latent.length + label] = 1;
  return row;
}

/** Add up directions, each times its amount. */
export function addDirections(directions, amounts) {
  const names = Object.keys(directions);
  const total = new Float32Array(directions[names[0]].length);
  for (const name of names) directions[name].forEach((value, i) => (total[i] += (amounts[name] ?? 0) * value));
  return total;
}

/** Round a number to the nearest whole one, halves to the even one as NumPy and PyTorch do. */
function roundHalfEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * Convert an image [3, H, W] in [-1, 1] to RGBA, each pixel `scale` pixels wide and high.
 * Of a clip [3, T, H, W], `frames` is T, and `frame` the number of the one to convert.
 */
export function toPixels(data, side, scale = 1, frame = 0, frames = 1) {
  const wide = side * scale;
  const area = side * side;
  const pixels = new Uint8ClampedArray(4 * wide * wide).fill(255);
  for (let y = 0; y < wide; y++) {
    for (let x = 0; x < wide; x++) {
      const place = Math.floor(y / scale) * side + Math.floor(x / scale);
      for (let c = 0; c < 3; c++) {
        const value = Math.min(1, Math.max(-1, data[(c * frames + frame) * area + place]));
        pixels[4 * (y * wide + x) + c] = roundHalfEven(Math.fround(Math.fround(value + 1) * LEVELS)); // in float32
      }
    }
  }
  return pixels;
}

/** Convert stored pixels [H, W, 3] of 0 to 255 to an image [3, H, W] in [-1, 1]. */
export function fromPixels(pixels, side) {
  const area = side * side;
  return Float32Array.from({ length: 3 * area }, (_, i) => pixels[(i % area) * 3 + Math.floor(i / area)] / LEVELS - 1);
}

/** Choose a token by logits, a temperature and a number from [0, 1), as zoo.text.policies does. */
export function chooseToken(logits, uniform, temperature = 1) {
  let largest = -Infinity;
  for (const logit of logits) largest = Math.max(largest, logit);
  const chances = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const goal = uniform * chances.reduce((sum, chance) => sum + chance, 0);
  let token = 0;
  for (let sum = chances[0]; sum <= goal; sum += chances[token]) token++;
  return token;
}

/** Split the tokens of a verse into lines. */
export function splitLines(tokens, width) {
  const lines = [];
  for (let i = 0; i < tokens.length; i += width) lines.push(tokens.slice(i, i + width).join(""));
  return lines;
}

/** List the notes of rolls [V + 1, T, P] of -1 and 1, of which the last has the onsets: { voice, start, length, pitch }. */
export function listNotes(rolls, voices, steps, pitches) {
  const on = (roll, step, pitch) => rolls[(roll * steps + step) * pitches + pitch] > 0;
  const notes = [];
  for (let voice = 0; voice < voices; voice++) {
    for (let pitch = 0; pitch < pitches; pitch++) {
      let note = null;
      for (let step = 0; step < steps; step++) {
        if (!on(voice, step, pitch)) note = null;
        else if (note && !on(voices, step, pitch)) note.length += 1;
        else notes.push((note = { voice, start: step, length: 1, pitch }));
      }
    }
  }
  return notes;
}

export const SYNTH_RATE = 22050; // Hz
const PEAK = 0.9;
const HARMONICS = 10;
const [ATTACK, RELEASE] = [0.02, 0.12]; // seconds

/** Render notes as sound in [-1, 1], with the additive synthesizer of zoo.music.samples.rendering. */
export function renderNotes(notes, { voices, steps, stepsOfBar, lowest, bpm }) {
  const step = (4 * 60) / bpm / stepsOfBar; // seconds
  const sound = new Float32Array(Math.ceil((steps * step + RELEASE) * SYNTH_RATE));
  for (const { voice, start, length, pitch } of notes) {
    const seconds = length * step;
    const frequency = 440 * 2 ** ((pitch + lowest - 69) / 12);
    const first = roundHalfEven(start * step * SYNTH_RATE);
    const count = Math.min(roundHalfEven((seconds + RELEASE) * SYNTH_RATE), sound.length - first);
    for (let i = 0; i < count; i++) {
      const time = i / SYNTH_RATE;
      let value = 0;
      for (let h = 1; h <= HARMONICS && h * frequency < SYNTH_RATE / 2; h++) {
        value += h ** (voice / voices - 2.2) * Math.exp(-0.35 * h * time) * Math.sin(2 * Math.PI * frequency * h * time);
      }
      const release = Math.min(1, Math.max(0, (seconds + RELEASE - time) / RELEASE));
      sound[first + i] += value * Math.min(1, time / ATTACK) * release ** 2;
    }
  }
  const loudest = sound.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return loudest > 0 ? sound.map((value) => (value * PEAK) / loudest) : sound;
}

/** Encode sound in [-1, 1] as a WAV file of 16-bit mono. */
export function encodeWav(sound, rate) {
  const bytes = new Uint8Array(44 + 2 * sound.length);
  const view = new DataView(bytes.buffer);
  const text = (offset, letters) => [...letters].forEach((letter, i) => (bytes[offset + i] = letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * sound.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of this chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits a sample
  text(36, "data");
  view.setUint32(40, 2 * sound.length, true);
  sound.forEach((value, i) => view.setInt16(44 + 2 * i, roundHalfEven(Math.min(1, Math.max(-1, value)) * 32767), true));
  return bytes;
}

/** Make a source of random numbers in [0, 1) (mulberry32). */
export function makeUniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Choose the faces of a round: each is real or generated with equal chances, and none comes twice. */
export function chooseRound(uniform, { faces, reals, seeds }) {
  const take = (taken, count) => {
    let number;
    do number = Math.floor(uniform() * count);
    while (taken.has(number));
    taken.add(number);
    return number;
  };
  const [real, generated] = [new Set(), new Set()];
  return Array.from({ length: faces }, () =>
    uniform() < 0.5 ? { real: true, number: take(real, reals) } : { real: false, number: take(generated, seeds) },
  );
}

/** Count right answers, true for real. */
export function countRight(answers, faces) {
  return answers.filter((answer, i) => answer === faces[i].real).length;
}

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** List the files that an entry's section needs and that are not loaded yet. */
export function listMissing(manifest, entry, kinds, loaded) {
  const wanted = Object.entries(manifest.entries[entry].files).filter(([kind]) => kinds.includes(kind));
  const names = [...Object.values(manifest.runtime.files), ...wanted.map(([, name]) => name)];
  if (kinds.includes("reals")) names.push(manifest.reals.file);
  return names.filter((name) => !loaded.has(name));
}

/** Add up the bytes of files, in words. */
export function formatSize(manifest, names) {
  const bytes = names.reduce((sum, name) => sum + manifest.files[name].bytes, 0);
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Fetch a file, unpack it where it is gzip, and compare its sha256 with the manifest's. */
export async function fetchChecked(url, { bytes, sha256 }, progress = () => {}) {
  const name = url.split("/").pop();
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${name}: the server answers ${answer.status}. Load the page again.`);
  const parts = [];
  let count = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    count += value.length;
    progress(Math.min(count, bytes)); // a host may unpack on the way
  }
  const blob = new Blob(parts);
  const content = new Uint8Array(await (await unpack(blob)).arrayBuffer());
  await checkDigest(content, sha256, name);
  return content;
}

async function unpack(blob) {
  const [a, b] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (a !== 0x1f || b !== 0x8b) return blob; // not gzip, or no longer
  return new Response(blob.stream().pipeThrough(new DecompressionStream("gzip")));
}

export async function checkDigest(content, sha256, name) {
  if (!globalThis.crypto?.subtle) throw new Error(`${name}: only https and localhost can check its digest. Use one of them.`);
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  if (Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("") !== sha256) {
    throw new Error(`${name}: not the file that this page was built with, so it was not used. Load the page again.`);
  }
}
