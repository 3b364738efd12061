// The page of the gallery: buttons, sliders and pictures. What is computed is in helpers.js and in the Worker.

import * as helpers from "./helpers.js";

const SCALE = 4; // canvas pixels of a pixel
const SIDE = 64; // pixels of faces and of frames
const FACES = 10; // of a round
const COLORS = ["#d1495b", "#e8a33d", "#3a9d78", "#3567a8"]; // of voices, as in zoo.music.samples.scores
const [PAPER, BLACK_KEY, BEAT, BAR] = ["#fdfbf7", "#f3eee4", "#ece5d8", "#b9ae9b"];
const BLACK_KEYS = [1, 3, 6, 8, 10]; // of an octave
const [STEP_PIXELS, PITCH_PIXELS] = [9, 5];

const NEEDED = { guess: ["generator", "latents", "discriminator", "reals"] };
const ORDINARY = ["generator", "latents", "facts"];

let manifest;
let worker;
const loaded = new Set();
const waiting = new Map(); // calls of the Worker by number
const buttons = []; // functions that write the sizes anew

/** Call an action of the Worker. It is started by the first call, and so by the first button that is pressed. */
function call(action, given, progress) {
  if (!worker) {
    worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data: { id, ...answer } }) => {
      const { resolve, reject, progress: tell } = waiting.get(id);
      if (answer.progress) return tell?.(...answer.progress);
      waiting.delete(id);
      if (answer.error) reject(new Error(answer.error));
      else resolve(answer.result);
    };
    worker.onerror = () => {
      for (const { reject } of waiting.values()) reject(new Error("The Worker did not start. Load the page again."));
      waiting.clear();
      worker = null;
    };
  }
  const id = (call.count = (call.count ?? 0) + 1);
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, progress });
    worker.postMessage({ id, action, ...given });
  });
}

// --- elements -------------------------------------------------------------------------------------------------------

let ids = 0;

function make(tag, parent, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

function makeButton(parent, text, action, attributes = {}) {
  const button = make("button", parent, { type: "button", class: "md-button", ...attributes }, text);
  button.addEventListener("click", action);
  return button;
}

function makeSlider(parent, name, { min, max, step, value }, changed) {
  const id = `gallery-${ids++}`;
  const row = make("div", parent, { class: "gallery-slider" });
  make("label", row, { for: id }, name);
  const input = make("input", row, { id, type: "range", min, max, step });
  const shown = make("output", row, { for: id });
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  const show = () => (shown.textContent = Number(input.value).toFixed(digits).replace("-", "\u2212"));
  input.set = (next) => {
    input.value = next;
    show();
  };
  input.set(value);
  input.addEventListener("input", () => {
    show();
    changed();
  });
  return input;
}

function makeChoice(parent, name, values, changed) {
  const id = `gallery-${ids++}`;
  const row = make("div", parent, { class: "gallery-slider" });
  make("label", row, { for: id }, name);
  const select = make("select", row, { id });
  values.forEach((value, i) => make("option", select, { value: i }, value));
  select.addEventListener("change", changed);
  return select;
}

function makeCanvas(parent, width, height, label) {
  return make("canvas", parent, { width, height, role: "img", "aria-label": label });
}

function drawPixels(canvas, pixels) {
  canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
}

function makeSaving(parent, canvas, name) {
  makeButton(parent, "Save as PNG", () => {
    canvas.toBlob((blob) => {
      const link = make("a", document.body, { href: URL.createObjectURL(blob), download: `${name()}.png` });
      link.click();
      link.remove();
    });
  });
}

/** Return a function that runs a task, and once more if it was asked for meanwhile: the last value of a slider wins. */
function refreshWith(task, status) {
  let running = false;
  let again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await task();
      }
    } catch (error) {
      status.textContent = error.message;
    }
    running = false;
  };
}

// --- what the sections have in common -----------------------------------------------------------------------------------

/** Put what is generated on the left, and its settings on the right. */
function arrange(body, name) {
  const pair = make("div", body, { class: "gallery-pair" });
  const figure = make("figure", pair);
  const controls = make("div", pair, { class: "gallery-controls", role: "group", "aria-label": `Settings of ${name}` });
  const caption = document.createElement("figcaption");
  caption.setAttribute("aria-live", "polite");
  return { figure, caption, controls };
}

/** Add the sliders of latents; returns a function that makes the latent, and one that describes it. */
function addLatents(parent, rows, width, changed) {
  const pick = (seed) => rows.subarray(width * seed, width * (seed + 1));
  const range = { min: 0, max: manifest.seeds - 1, step: 1 };
  const seed = makeSlider(parent, "Seed", { ...range, value: 7 }, changed);
  const second = makeSlider(parent, "Second seed", { ...range, value: 42 }, changed);
  const share = makeSlider(parent, "Interpolation", { min: 0, max: 1, step: 0.01, value: 0 }, changed);
  makeButton(parent, "Random seeds", () => {
    for (const each of [seed, second]) each.set(Math.floor(Math.random() * manifest.seeds));
    changed();
  });
  return {
    latent: () => {
      const between = Number(share.value);
      const [from, to] = [pick(Number(seed.value)), pick(Number(second.value))];
      return between === 0 ? Float32Array.from(from) : helpers.slerp(from, to, between);
    },
    say: () => {
      const between = Number(share.value);
      return between === 0 ? `seed ${seed.value}` : `${Math.round(100 * between)}% of the way from seed ${seed.value} to ${second.value}`;
    },
  };
}

async function readNumbers(name) {
  return new Float32Array((await call("read", { name })).slice().buffer);
}

async function readFacts(files) {
  return files.facts ? JSON.parse(new TextDecoder().decode(await call("read", { name: files.facts }))) : {};
}

const row = (data) => ({ data, dims: [1, data.length] });

/** Play a sound, unless the browser or the visitor does not want that. */
function setSound(audio, sound, rate, playing) {
  if (audio.src) URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(new Blob([helpers.encodeWav(sound, rate)], { type: "audio/wav" }));
  if (playing) audio.play().catch(() => {});
}

// --- sections -----------------------------------------------------------------------------------------------------------

async function showFaces({ body, status, entry, facts }) {
  const { figure, caption, controls } = arrange(body, entry.name);
  const { files, latents: width } = entry;
  const { directions } = facts;
  const canvas = makeCanvas(figure, SIDE * SCALE, SIDE * SCALE, "");
  figure.append(caption);
  const refresh = refreshWith(async () => {
    const inputs = { latents: row(chosen.latent()) };
    const amounts = Object.fromEntries(Object.entries(edits).map(([name, slider]) => [name, Number(slider.value)]));
    if (directions) {
      inputs.truncation = row(Float32Array.of(truncation.value));
      inputs.edit = row(helpers.addDirections(directions, amounts));
    }
    const { samples } = await call("run", { network: files.generator, inputs });
    drawPixels(canvas, helpers.toPixels(samples.data, SIDE, SCALE));
    const moved = Object.entries(amounts).filter(([, amount]) => amount);
    const said = [
      chosen.say(),
      ...(truncation && truncation.value !== "1" ? [`truncation ${truncation.value}`] : []),
      ...moved.map(([name, amount]) => `${name} ${amount > 0 ? "+" : "\u2212"}${Math.abs(amount)}`),
    ].join(", ");
    caption.textContent = `${entry.name}, ${said}`;
    canvas.setAttribute("aria-label", `A face generated by ${entry.name}: ${said}`);
  }, status);
  const chosen = addLatents(controls, await readNumbers(files.latents), width, refresh);
  const edits = {};
  let truncation;
  if (directions) {
    truncation = makeSlider(controls, "Truncation", { min: 0, max: 1.2, step: 0.05, value: 1 }, refresh);
    const group = make("fieldset", controls);
    make("legend", group, {}, "Edits, in standard deviations");
    for (const name of Object.keys(directions)) {
      edits[name] = makeSlider(group, name, { min: -3, max: 3, step: 0.1, value: 0 }, refresh);
    }
    makeButton(controls, "Reset", () => {
      for (const slider of Object.values(edits)) slider.set(0);
      truncation.set(1);
      refresh();
    });
  }
  makeSaving(controls, canvas, () => caption.textContent.replace(/[^\w-]+/g, "-"));
  await refresh();
}

async function showDrums({ body, status, entry }) {
  const { figure, caption, controls } = arrange(body, entry.name);
  const { files, latents: width, classes, rate } = entry;
  const canvas = makeCanvas(figure, 512, 160, "");
  figure.append(caption);
  const audio = make("audio", figure, { controls: "" });
  const refresh = refreshWith(async () => {
    const latent = helpers.addClass(chosen.latent(), Number(label.value), classes.length);
    const { samples } = await call("run", { network: files.generator, inputs: { latents: row(latent) } });
    drawWave(canvas, samples.data);
    setSound(audio, samples.data, rate, at_once.checked && started);
    const said = `${classes[label.value]}, ${chosen.say()}`;
    caption.textContent = `${entry.name}, ${said}. A second, from left to right`;
    canvas.setAttribute("aria-label", `The wave of a drum hit generated by ${entry.name}: ${said}`);
  }, status);
  let started = false; // the first sound waits for the visitor
  const label = makeChoice(controls, "Class", classes, refresh);
  const chosen = addLatents(controls, await readNumbers(files.latents), width, refresh);
  const box = make("label", controls, { class: "gallery-check" });
  const at_once = make("input", box, { type: "checkbox", checked: "" });
  box.append(" Play each new sound");
  await refresh();
  started = true;
}

function drawWave(canvas, wave) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  context.fillStyle = "#0f9488"; // seen on white and on black
  for (let x = 0; x < width; x++) {
    const part = wave.subarray(Math.floor((x * wave.length) / width), Math.floor(((x + 1) * wave.length) / width));
    const [low, high] = [Math.min(...part, 0), Math.max(...part, 0)];
    context.fillRect(x, ((1 - high) / 2) * height, 1, Math.max(1, ((high - low) / 2) * height));
  }
}

async function showScores({ body, status, entry }) {
  const { figure, caption, controls } = arrange(body, entry.name);
  const { files, latents: width, steps: stepsOfBar, lowest, bpm } = entry;
  const canvas = makeCanvas(figure, 1, 1, "");
  figure.append(caption);
  const audio = make("audio", figure, { controls: "" });
  const refresh = refreshWith(async () => {
    const inputs = { latents: row(chosen.latent()) };
    const score = await call("play", { network: files.generator, inputs, stepsOfBar, lowest, bpm });
    drawScore(canvas, score, stepsOfBar, lowest);
    setSound(audio, score.sound, helpers.SYNTH_RATE, false);
    caption.textContent = `${entry.name}, ${chosen.say()}: ${score.notes.length} notes. A color a voice, pitches upwards`;
    canvas.setAttribute(
      "aria-label",
      `Four bars in four voices, ${score.notes.length} notes, written by ${entry.name}: ${chosen.say()}`,
    );
  }, status);
  const chosen = addLatents(controls, await readNumbers(files.latents), width, refresh);
  await refresh();
}

function drawScore(canvas, { notes, steps, pitches }, stepsOfBar, lowest) {
  [canvas.width, canvas.height] = [steps * STEP_PIXELS + 1, pitches * PITCH_PIXELS + 1];
  const context = canvas.getContext("2d");
  const fill = (color, ...box) => {
    context.fillStyle = color;
    context.fillRect(...box);
  };
  fill(PAPER, 0, 0, canvas.width, canvas.height);
  for (let pitch = 0; pitch < pitches; pitch++) {
    const top = (pitches - 1 - pitch) * PITCH_PIXELS;
    if (BLACK_KEYS.includes((pitch + lowest) % 12)) fill(BLACK_KEY, 0, top, canvas.width, PITCH_PIXELS);
  }
  for (let step = 0; step <= steps; step += stepsOfBar / 4) {
    fill(step % stepsOfBar ? BEAT : BAR, step * STEP_PIXELS, 0, 1, canvas.height);
  }
  for (const { voice, start, length, pitch } of [...notes].sort((a, b) => b.voice - a.voice)) {
    const top = (pitches - 1 - pitch) * PITCH_PIXELS;
    fill(COLORS[voice], start * STEP_PIXELS + 1, top, length * STEP_PIXELS - 2, PITCH_PIXELS);
  }
}

async function showPoems({ body, status, entry, facts }) {
  const { figure, caption, controls } = arrange(body, entry.name);
  const { files, length, line, state } = entry;
  const rows = await readNumbers(files.latents);
  const poem = make("blockquote", figure, { class: "gallery-poem", lang: "zh-Hant", "aria-live": "polite" });
  figure.append(caption);
  const refresh = refreshWith(async () => {
    const uniforms = rows.slice(length * seed.value, length * (Number(seed.value) + 1));
    const given = { network: files.generator, state, uniforms, temperature: Number(temperature.value) };
    const tokens = await call("write", given);
    poem.replaceChildren();
    for (const text of helpers.splitLines(tokens.map((token) => facts.tokens[token]), line)) make("div", poem, {}, text);
    caption.textContent = `${entry.name}, seed ${seed.value}, temperature ${temperature.value}`;
  }, status);
  const seed = makeSlider(controls, "Seed", { min: 0, max: manifest.seeds - 1, step: 1, value: 7 }, refresh);
  const temperature = makeSlider(controls, "Temperature", { min: 0.1, max: 1.5, step: 0.05, value: 1 }, refresh);
  makeButton(controls, "Random seed", () => {
    seed.set(Math.floor(Math.random() * manifest.seeds));
    refresh();
  });
  await refresh();
}

async function showClips({ body, status, entry }) {
  const { figure, caption, controls } = arrange(body, entry.name);
  const { files, latents: width, classes, rate } = entry;
  const canvas = makeCanvas(figure, SIDE * SCALE, SIDE * SCALE, "");
  figure.append(caption);
  let clip;
  let timer;
  const show = () => {
    if (clip) drawPixels(canvas, helpers.toPixels(clip.data, SIDE, SCALE, Number(frame.value) - 1, clip.dims[2]));
  };
  const play = (on) => {
    clearInterval(timer);
    playing.textContent = on ? "Pause" : "Play";
    if (on) {
      timer = setInterval(() => {
        frame.set((frame.value % frame.max) + 1);
        show();
      }, 1000 / rate);
    }
    playing.on = on;
  };
  const refresh = refreshWith(async () => {
    const latent = helpers.addClass(chosen.latent(), Number(label.value), classes.length);
    clip = (await call("run", { network: files.generator, inputs: { latents: row(latent) } })).samples;
    frame.max = clip.dims[2];
    show();
    const said = `${classes[label.value]}, ${chosen.say()}`;
    caption.textContent = `${entry.name}, ${said}`;
    canvas.setAttribute("aria-label", `A clip of a face generated by ${entry.name}: ${said}`);
  }, status);
  const label = makeChoice(controls, "Action", classes, refresh);
  const chosen = addLatents(controls, await readNumbers(files.latents), width, refresh);
  const frame = makeSlider(controls, "Frame", { min: 1, max: 16, step: 1, value: 1 }, () => {
    play(false);
    show();
  });
  const playing = makeButton(controls, "Play", () => play(!playing.on));
  await refresh();
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
}

async function showGuessing({ body, status, entry }) {
  const { files, latents: width } = entry;
  const rows = await readNumbers(files.latents);
  const area = 3 * SIDE * SIDE;
  const reals = await call("read", { name: manifest.reals.file });
  const total = { you: 0, ours: 0, faces: 0 };
  const board = make("div", body, { class: "gallery-faces" });
  const bottom = make("p", body);
  const report = make("p", body, { role: "status" });
  let round = Math.floor(Math.random() * 2 ** 32);

  async function startRound() {
    const faces = helpers.chooseRound(helpers.makeUniform(round++), {
      faces: FACES,
      reals: reals.length / area,
      seeds: manifest.seeds,
    });
    const images = [];
    for (const face of faces) {
      if (face.real) {
        images.push(helpers.fromPixels(reals.subarray(area * face.number, area * (face.number + 1)), SIDE));
      } else {
        const inputs = { latents: row(rows.slice(width * face.number, width * (face.number + 1))) };
        images.push((await call("run", { network: files.generator, inputs })).samples.data);
      }
    }
    const all = new Float32Array(FACES * area);
    images.forEach((image, i) => all.set(image, area * i));
    const inputs = { samples: { data: all, dims: [FACES, 3, SIDE, SIDE] } };
    const { logits } = await call("run", { network: files.discriminator, inputs });
    show(faces, images, logits.data);
  }

  function show(faces, images, logits) {
    const answers = new Array(FACES).fill(null);
    board.replaceChildren();
    bottom.replaceChildren();
    report.textContent = "";
    const cells = images.map((image, i) => {
      const cell = make("fieldset", board);
      make("legend", cell, {}, `Face ${i + 1}`);
      const canvas = makeCanvas(cell, SIDE * SCALE, SIDE * SCALE, `Face ${i + 1}: real or generated?`);
      drawPixels(canvas, helpers.toPixels(image, SIDE, SCALE));
      for (const real of [true, false]) {
        const label = make("label", cell);
        const input = make("input", label, { type: "radio", name: `gallery-face-${i}` });
        label.append(real ? " real" : " generated");
        input.addEventListener("change", () => {
          answers[i] = real;
          const left = answers.filter((answer) => answer === null).length;
          button.disabled = left > 0;
          report.textContent = left ? `${left} to go` : "";
        });
      }
      return cell;
    });
    const button = makeButton(bottom, "Show the answers", () => tell(faces, answers, logits, cells));
    button.disabled = true;
  }

  function tell(faces, answers, logits, cells) {
    const ours = Array.from(logits, (logit) => logit > 0);
    cells.forEach((cell, i) => {
      cell.disabled = true;
      const { real, number } = faces[i];
      const right = (answer) => (answer === real ? "right" : "wrong");
      const truth = real ? "a real face" : `generated, seed ${number}`;
      const share = Math.round(100 * helpers.sigmoid(logits[i]));
      const said = `It is ${truth}.\nYou: ${right(answers[i])}.\nOurs: ${right(ours[i])}, ${share}% real.`;
      cell.classList.add(`gallery-${right(answers[i])}`);
      make("p", cell, { class: "gallery-truth" }, said);
      cell.querySelector("canvas").setAttribute("aria-label", `Face ${i + 1}: ${truth}`);
    });
    const scores = [helpers.countRight(answers, faces), helpers.countRight(ours, faces)];
    total.you += scores[0];
    total.ours += scores[1];
    total.faces += FACES;
    report.textContent =
      `You: ${scores[0]} of ${FACES} right. Our discriminator: ${scores[1]} of ${FACES}.` +
      (total.faces > FACES ? ` All rounds: you ${total.you} of ${total.faces}, ours ${total.ours}.` : "");
    bottom.replaceChildren();
    makeButton(bottom, "Ten more faces", () => startRound().catch((error) => (status.textContent = error.message))).focus();
  }

  await startRound();
}

// --- start --------------------------------------------------------------------------------------------------------------

const SECTIONS = { faces: showFaces, drums: showDrums, scores: showScores, poems: showPoems, clips: showClips, guess: showGuessing };

function prepare(root) {
  const { entry: name, kind } = root.dataset;
  const entry = { name, ...manifest.entries[name] };
  const needed = NEEDED[kind] ?? ORDINARY;
  const first = make("p", root);
  const button = makeButton(first, "", start, { class: "md-button md-button--primary" });
  const status = make("p", root, { role: "status" });
  buttons.push(() => {
    const missing = helpers.listMissing(manifest, name, needed, loaded);
    const what = missing.length ? `load ${helpers.formatSize(manifest, missing)}` : "nothing to load";
    button.textContent = `${root.dataset.button} (${what})`;
  });

  async function start() {
    button.disabled = true;
    const names = helpers.listMissing(manifest, name, needed, loaded);
    const body = make("div", root, { class: "gallery-body" });
    try {
      await call("load", { names, files: manifest.files, runtime: manifest.runtime.files }, (done, total) => {
        status.textContent = `${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`;
      });
      for (const each of names) loaded.add(each);
      for (const write of buttons) write();
      status.textContent = "";
      const facts = await readFacts(entry.files);
      await SECTIONS[kind]({ body, status, entry, facts });
      first.remove();
    } catch (error) {
      body.replaceChildren();
      status.textContent = error.message;
      button.disabled = false;
    }
  }
}

const roots = [...document.querySelectorAll(".gallery-live")];
const answer = await fetch(new URL("dist/manifest.json", import.meta.url)).catch(() => ({ ok: false }));
if (answer.ok) {
  manifest = await answer.json();
  roots.forEach(prepare);
  for (const write of buttons) write();
} else {
  const why = "This copy of the page has no models. Run python docs/gallery/build.py and then mkdocs build.";
  for (const root of roots) make("p", root, { role: "status" }, why);
}
