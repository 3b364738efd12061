// The two-dimensional game: a generator and a discriminator of three linear layers, trained with Adam.
// No DOM and no library, so that Node can import it: tests/test_toy.py compares it with PyTorch.

export const MODES = 8;
export const RADIUS = 2; // of the ring
export const SPREAD = 0.1; // the standard deviation of a mode
export const LATENTS = 2;
const SLOPE = 0.2; // of the leaky ReLU below 0
const EPSILON = 1e-8; // of Adam
const EQUILIBRIUM = Math.log(4); // the discriminator's loss where D = 1/2 everywhere

/** Make a source of random numbers (mulberry32): uniform in [0, 1), and normal by Box and Muller. */
export function makeNoise(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

/** Make `count` latents from N(0, I): x0, y0, x1, y1, ... */
export function makeLatents(count, noise) {
  return Float64Array.from({ length: LATENTS * count }, noise.normal);
}

/** Make `count` real points: a mode at random, and a normal number about it. */
export function makeReal(count, noise) {
  const points = new Float64Array(2 * count);
  for (let i = 0; i < count; i++) {
    const angle = (2 * Math.PI * Math.floor(MODES * noise.uniform())) / MODES;
    points[2 * i] = RADIUS * Math.cos(angle) + SPREAD * noise.normal();
    points[2 * i + 1] = RADIUS * Math.sin(angle) + SPREAD * noise.normal();
  }
  return points;
}

/** A network of linear layers with leaky ReLUs between them. Weights lie as in PyTorch: [outputs, inputs]. */
export class Network {
  constructor(sizes, noise) {
    this.layers = sizes.slice(1).map((outputs, i) => {
      const inputs = sizes[i];
      const bound = 1 / Math.sqrt(inputs); // PyTorch's nn.Linear
      const fill = (length) => Float64Array.from({ length }, () => (2 * noise.uniform() - 1) * bound);
      return { inputs, outputs, weight: makeParameter(fill(inputs * outputs)), bias: makeParameter(fill(outputs)) };
    });
  }

  parameters() {
    return this.layers.flatMap((layer) => [layer.weight, layer.bias]);
  }

  /** Compute the outputs of a batch, and keep what `backward` needs. */
  forward(input) {
    this.inputs = [];
    let x = input;
    this.layers.forEach(({ inputs, outputs, weight, bias }, number) => {
      this.inputs.push(x);
      const batch = x.length / inputs;
      const y = new Float64Array(batch * outputs);
      const weights = weight.value;
      const leaky = number < this.layers.length - 1;
      for (let n = 0; n < batch; n++) {
        for (let o = 0; o < outputs; o++) {
          let sum = bias.value[o];
          for (let i = 0, w = o * inputs, v = n * inputs; i < inputs; i++) sum += weights[w + i] * x[v + i];
          y[n * outputs + o] = leaky && sum < 0 ? SLOPE * sum : sum;
        }
      }
      x = y;
    });
    return x;
  }

  /** Add to the parameters' gradients, and return the gradient of the input of the last `forward`. */
  backward(gradient) {
    let dy = gradient;
    for (let number = this.layers.length - 1; number >= 0; number--) {
      const { inputs, outputs, weight, bias } = this.layers[number];
      const x = this.inputs[number];
      const batch = x.length / inputs;
      const [weights, gradients] = [weight.value, weight.gradient];
      const dx = new Float64Array(batch * inputs);
      for (let n = 0; n < batch; n++) {
        for (let o = 0; o < outputs; o++) {
          const d = dy[n * outputs + o];
          bias.gradient[o] += d;
          for (let i = 0, w = o * inputs, v = n * inputs; i < inputs; i++) {
            gradients[w + i] += d * x[v + i];
            dx[v + i] += d * weights[w + i];
          }
        }
      }
      if (number > 0) x.forEach((value, i) => value < 0 && (dx[i] *= SLOPE)); // x is the leaky ReLU's output
      dy = dx;
    }
    return dy;
  }

  clearGradients() {
    for (const parameter of this.parameters()) parameter.gradient.fill(0);
  }

  /** Compute the norm of all gradients together. */
  gradientNorm() {
    let sum = 0;
    for (const { gradient } of this.parameters()) for (const g of gradient) sum += g * g;
    return Math.sqrt(sum);
  }
}

function makeParameter(value) {
  const zeros = () => new Float64Array(value.length);
  return { value, gradient: zeros(), mean: zeros(), square: zeros() };
}

export class Adam {
  constructor(network, { lr, betas }) {
    Object.assign(this, { network, lr, betas, steps: 0 });
  }

  step() {
    this.steps += 1;
    const [beta1, beta2] = this.betas;
    const [c1, c2] = [1 - beta1 ** this.steps, 1 - beta2 ** this.steps];
    for (const { value, gradient, mean, square } of this.network.parameters()) {
      for (let i = 0; i < value.length; i++) {
        mean[i] = beta1 * mean[i] + (1 - beta1) * gradient[i];
        square[i] = beta2 * square[i] + (1 - beta2) * gradient[i] * gradient[i];
        value[i] -= (this.lr * mean[i]) / c1 / (Math.sqrt(square[i] / c2) + EPSILON);
      }
    }
  }
}

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What the generator minimizes, as a function of the logit of one generated point, and its slope. */
const GENERATOR_LOSSES = {
  non_saturating: { loss: (logit) => softplus(-logit), slope: (logit) => -sigmoid(-logit) },
  minimax: { loss: (logit) => -softplus(logit), slope: (logit) => -sigmoid(logit) },
};

export const DEFAULTS = {
  loss: "non_saturating",
  width: 32, // units of a hidden layer
  batch: 128,
  lrG: 1e-3,
  lrD: 1e-3,
  betas: [0.5, 0.9],
  intervalG: 1, // G is updated on every step that this divides
  intervalD: 1,
};

export class Game {
  constructor(options = {}, seed = 0) {
    this.options = { ...DEFAULTS, ...options };
    const { width, lrG, lrD, betas } = this.options;
    this.noise = makeNoise(seed);
    this.generator = new Network([LATENTS, width, width, 2], this.noise);
    this.discriminator = new Network([2, width, width, 1], this.noise);
    this.optimizerG = new Adam(this.generator, { lr: lrG, betas });
    this.optimizerD = new Adam(this.discriminator, { lr: lrD, betas });
    this.steps = 0;
  }

  /** Train one step on a real batch, and on the points that G makes of the latents. Return losses and norms. */
  step(real = makeReal(this.options.batch, this.noise), latents = makeLatents(this.options.batch, this.noise)) {
    const { generator: G, discriminator: D } = this;
    const { intervalG, intervalD } = this.options;
    const fake = G.forward(latents);
    const found = {};
    if (this.steps % intervalD === 0) {
      D.clearGradients();
      const realLogits = D.forward(real);
      D.backward(realLogits.map((logit) => -sigmoid(-logit) / realLogits.length));
      const fakeLogits = D.forward(fake);
      D.backward(fakeLogits.map((logit) => sigmoid(logit) / fakeLogits.length));
      found.lossD = average(realLogits.map((logit) => softplus(-logit))) + average(fakeLogits.map(softplus));
      found.normD = D.gradientNorm();
      found.advantage = 1 - found.lossD / EQUILIBRIUM;
      this.optimizerD.step();
    }
    if (this.steps % intervalG === 0) {
      const { loss, slope } = GENERATOR_LOSSES[this.options.loss];
      G.clearGradients();
      const logits = D.forward(fake);
      G.backward(D.backward(logits.map((logit) => slope(logit) / logits.length))); // D's own gradients are not used
      found.lossG = average(logits.map(loss));
      found.normG = G.gradientNorm();
      this.optimizerG.step();
    }
    this.steps += 1;
    return found;
  }
}

/** Compute the mean distance between two of the points. */
function meanDistance(points) {
  let sum = 0;
  const count = points.length / 2;
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < i; j++) sum += Math.hypot(points[2 * i] - points[2 * j], points[2 * i + 1] - points[2 * j + 1]);
  }
  return sum / ((count * (count - 1)) / 2);
}

/** Compute the mean distance between two generated points, over that between two real points. */
export function measureDiversity(fake, real) {
  return meanDistance(fake) / meanDistance(real);
}

/** Count the generated points within three deviations of each mode. */
export function countModes(points) {
  const counts = new Array(MODES).fill(0);
  for (let i = 0; i < points.length / 2; i++) {
    for (let mode = 0; mode < MODES; mode++) {
      const angle = (2 * Math.PI * mode) / MODES;
      const [x, y] = [RADIUS * Math.cos(angle), RADIUS * Math.sin(angle)];
      if (Math.hypot(points[2 * i] - x, points[2 * i + 1] - y) < 3 * SPREAD) counts[mode] += 1;
    }
  }
  return counts;
}

/** Settings that show one thing each. tests/test_toy.py checks that they do. */
export const PRESETS = {
  balance: {},
  starve: { loss: "minimax", lrG: 1e-4, intervalG: 10 },
  collapse: { intervalD: 5 },
  oscillate: { lrG: 5e-3, lrD: 5e-3, betas: [0.9, 0.9] },
};
