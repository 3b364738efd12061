// The page of the two-dimensional game: what is drawn, and the controls. The maths is in game.js.

import * as game from "./game.js";

const VIEW = 3.2; // the canvas shows the square from -VIEW to VIEW
const CELLS = 48; // of the heat map, on a side
const LINES = 9; // of the generator's grid, in each direction
const REACH = 2; // of the grid: two standard deviations of the latents
const GRID_POINTS = 33; // on a line
const SHOWN = 256; // real and generated points that are shown and measured
const FRAME = 14; // milliseconds of training between two pictures
const KEPT = 100; // steps over which the numbers are averaged
const FIRST_STEPS = 200; // before which nothing is said
const SETTINGS = ["loss", "lrG", "lrD", "intervalG", "intervalD", "width"];

const find = (name) => document.getElementById(`toy-${name}`);
const canvas = find("canvas");
const context = canvas.getContext("2d");
const place = (value) => ((value + VIEW) / (2 * VIEW)) * canvas.width;

let play, latents, real, recent, running;

function restart() {
  if (![...SETTINGS, "seed"].every((name) => find(name).reportValidity())) return;
  const preset = game.PRESETS[find("preset").value];
  const chosen = { loss: find("loss").value };
  for (const name of SETTINGS.slice(1)) chosen[name] = Number(find(name).value);
  play = new game.Game({ ...preset, ...chosen }, Number(find("seed").value));
  const noise = game.makeNoise(1); // what is shown is of the same latents, always
  latents = game.makeLatents(SHOWN, noise);
  real = game.makeReal(SHOWN, noise);
  recent = [];
  show();
}

function choosePreset() {
  const settings = { ...game.DEFAULTS, ...game.PRESETS[find("preset").value] };
  for (const name of SETTINGS) find(name).value = settings[name];
  restart();
}

function train(steps) {
  for (let i = 0; i < steps; i++) {
    recent.push(play.step());
    if (recent.length > KEPT) recent.shift();
  }
}

function run(on) {
  running = on;
  find("run").textContent = on ? "Pause" : "Run";
  if (!on) return show();
  find("report").textContent = "The training runs. Press Pause, and this line says how it goes.";
  requestAnimationFrame(frame);
}

function frame() {
  if (!running) return;
  const end = performance.now() + FRAME;
  while (performance.now() < end) train(1);
  show();
  requestAnimationFrame(frame);
}

function mean(name) {
  const values = recent.map((found) => found[name]).filter((value) => value !== undefined);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN;
}

function show() {
  const points = play.generator.forward(latents);
  draw(points);
  const counts = game.countModes(points);
  const numbers = {
    steps: play.steps,
    advantage: mean("advantage"),
    norm: mean("normG"),
    ratio: mean("normG") / mean("normD"),
    diversity: game.measureDiversity(points, real),
    modes: counts.filter((count) => count >= SHOWN / game.MODES / 4).length,
  };
  const format = (name, value) =>
    Number.isInteger(value) ? value : Number.isNaN(value) ? "–" : name === "norm" ? value.toExponential(1) : value.toFixed(2).replace(/^-(0\.00)$/, "$1");
  for (const [name, value] of Object.entries(numbers)) find(name).textContent = format(name, value);
  if (running) return; // a screen reader hears the sentences when the training rests
  const said = explain(numbers);
  find("report").textContent = said;
  canvas.setAttribute(
    "aria-label",
    `Step ${play.steps}. ${SHOWN} generated points: ${numbers.modes} of ${game.MODES} modes of the ring have at least a ` +
      `quarter of their share. ${said}`,
  );
}

function explain({ steps, advantage, norm, diversity }) {
  if (steps < FIRST_STEPS) return `After ${steps} steps it is too early to say how the training goes.`;
  const equilibrium =
    advantage > 0.9
      ? "The discriminator is nearly always right."
      : advantage < -0.05
        ? "The discriminator is worse than a constant output."
        : advantage < 0.15
          ? "The discriminator can hardly tell real from generated."
          : "The discriminator recognizes many points.";
  const starvation = norm < 1e-3 ? " The generator starves: its gradient is nearly zero." : "";
  const collapse =
    diversity < 0.6 ? " The points resemble one another: modes are missing." : diversity > 1.5 ? " The points are too far apart." : "";
  return equilibrium + starvation + collapse;
}

function draw(points) {
  const size = canvas.width;
  const heat = new Float64Array(2 * CELLS * CELLS);
  const center = (cell) => ((cell + 0.5) / CELLS) * 2 * VIEW - VIEW;
  for (let i = 0; i < CELLS * CELLS; i++) {
    heat[2 * i] = center(i % CELLS);
    heat[2 * i + 1] = center(Math.floor(i / CELLS));
  }
  play.discriminator.forward(heat).forEach((logit, i) => {
    context.fillStyle = color(game.sigmoid(logit));
    context.fillRect((i % CELLS) * (size / CELLS), Math.floor(i / CELLS) * (size / CELLS), size / CELLS + 1, size / CELLS + 1);
  });
  drawGrid();
  drawPoints(real, "#1b4f72", false);
  drawPoints(points, "#7b241c", true);
}

/** Orange where D says "generated", white at one half, blue where it says "real": told apart in all color vision. */
function color(probability) {
  const [from, share] = probability > 0.5 ? [[120, 180, 225], 2 * probability - 1] : [[245, 176, 105], 1 - 2 * probability];
  return `rgb(${from.map((part) => Math.round(255 + (part - 255) * share)).join()})`;
}

function drawGrid() {
  context.strokeStyle = "rgba(60, 60, 60, 0.45)";
  for (let line = 0; line < LINES; line++) {
    const fixed = ((2 * line) / (LINES - 1) - 1) * REACH;
    for (const across of [0, 1]) {
      const way = new Float64Array(2 * GRID_POINTS);
      for (let i = 0; i < GRID_POINTS; i++) {
        way[2 * i + across] = fixed;
        way[2 * i + 1 - across] = ((2 * i) / (GRID_POINTS - 1) - 1) * REACH;
      }
      const moved = play.generator.forward(way);
      context.beginPath();
      for (let i = 0; i < GRID_POINTS; i++) context.lineTo(place(moved[2 * i]), place(moved[2 * i + 1]));
      context.stroke();
    }
  }
}

/** Draw real points as squares and generated ones as discs, so that their shapes tell them apart, too. */
function drawPoints(points, style, round) {
  context.fillStyle = style;
  for (let i = 0; i < points.length; i += 2) {
    context.beginPath();
    if (round) context.arc(place(points[i]), place(points[i + 1]), 2.5, 0, 2 * Math.PI);
    else context.rect(place(points[i]) - 2, place(points[i + 1]) - 2, 4, 4);
    context.fill();
  }
}

find("run").addEventListener("click", () => run(!running));
for (const steps of [1, 100]) {
  find(`step-${steps}`).addEventListener("click", () => {
    train(steps);
    run(false);
  });
}
find("restart").addEventListener("click", restart);
find("preset").addEventListener("change", choosePreset);
for (const name of [...SETTINGS, "seed"]) find(name).addEventListener("change", restart);
choosePreset();
