"""Recomputes what a run on images reports, from the definitions alone.

    python check_images.py FOLDER

FOLDER holds `run.json`, `images.safetensors`, `step.safetensors` and `end.safetensors`. Everything is computed again in
double precision with numpy, the linear probes with scikit-learn; nothing of the program under test is used. Exit
status: 0 when all numbers agree, 1 when one does not, 2 when a file is missing or damaged or the run is of a kind that
is not covered.

Covered: all encoders, activations, objectives, optimizers and learning rates of runs on images, with projectors of one
hidden layer. Of one step its loss, the gradient (by reverse-mode differentiation below) and the running statistics
behind it; two updates by each optimizer from that gradient and -1/2 of it; features, held-out loss and similarities,
kNN and linear probes of the networks at the end; what was found inside the last one; directions of the pixels, and
latents. Not covered: how views and orders are drawn from their images, and the map.

Tolerances follow from the program's 32-bit floats; U = 2^-24 is the largest relative error of one rounding.

- What is computed in double precision from the very numbers in the files must agree to EXACT.
- Values and gradients of networks pass through many roundings, and what these add up to depends on the order of
  additions. The step is therefore taken in 32-bit floats here, too. A number may be off by SINGLE times what that
  changes in it, since another order rounds otherwise, and by a fraction of its own size, VALUE for values and GRADIENT for
  gradients: a sum over a million positions, added one by one, is off by up to sqrt(10^6) U = 6e-5 of itself, where
  numpy's blocks are off by less than log2(10^6) U = 1e-6.
- The derivative of a ReLU jumps where its input is 0, and with it the gradient, by more than all roundings together. An
  input that is within DEVIATIONS standard deviations of rounding from a jump may count on either side: the side is
  taken that is nearer to the reported gradient, one input at a time. No tolerance becomes wider by that.
- Whole numbers (accuracies, confusions) must be the same, except for images whose class is within rounding of another:
  for kNN if errors of cosines up to `cosine_error` can change the vote, for linear probes if two scores are as close as
  a fit may be off that stops at a loss EXCESS above its minimum.
- R² is the same to R_SQUARED, a hundred times what rounding of features was seen to do. A principal direction is as
  sure as its eigenvalue is apart from the next: what depends on it may be off by twice the angle by which rounding may
  turn it.
"""

import itertools
import math
import sys
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

sys.dont_write_bytecode = True
from reading import (  # noqa: E402
    EXACT,
    RIDGE_PENALTIES,
    VALIDATION_FRACTION,
    Row,
    Table,
    Tensors,
    U,
    Unreadable,
    learning_rate,
    look_up,
    number,
    numbers,
    print_check,
    read_json,
    standardised,
    variant,
)
from signals import LEAST_PAIRS, check_gradient_norm, check_outputs, check_rank, check_view_distances  # noqa: E402

EPSILON = 1e-5
MOMENTUM = 0.1
# Images that go through a network together.
CHUNK = 250

VALUE = 1e-5
GRADIENT = 1e-4
SINGLE = 16.0
DEVIATIONS = 6.0
# Each takes one backward pass at most; the nearest come first.
MAX_DOUBTFUL = 100

# How far the loss of a fitted probe may lie above its minimum, per training row; see `probe`.
EXCESS = 1e-6
# Penalties that do as well as that on the validation rows may each be chosen.
SAME_SCORE = 1e-4
R_SQUARED = 1e-4

LOOKED_INTO = 1000
DIRECTION_IMAGES = 1024
PRINCIPAL = 16
PAIRS = 4
# A fraction of a variance, or a deviation as a fraction of a mean, that counts as none.
ROUNDING_FRACTION = 1e-12
# Rounding moves the matrix of inner products by less than PRODUCTS of its largest eigenvalue, and an eigenvector by
# that over the distance to the next eigenvalue. A principal direction that it may turn by more than TURNED is not
# compared. (A sum of 3072 products, added one by one, is off by sqrt(3072) U / 3 of itself, and a symmetric matrix of
# n² independent errors of that size by 2 / sqrt(n) of its norm.)
PRODUCTS = 1e-6
TURNED = 5e-3
SQUARE = 4
SELECTIVE = 0.5


# Differentiation


class Node:
    """A value, the nodes it was made of, and for each of these what takes a gradient of the value to it."""

    def __init__(self, value, parents=(), pulls=(), wanted=False):
        self.value, self.parents, self.pulls = value, parents, pulls
        self.wanted = wanted or any(parent.wanted for parent in parents)


def made(value, *origins):
    """A node made of others; without a way back where none of them wants a gradient."""
    if not any(parent.wanted for parent, _ in origins):
        return Node(value)
    return Node(value, *zip(*origins))


def in_order(roots):
    """All nodes that the roots depend on, each behind those it was made of."""
    order, seen, stack = [], set(), [(root, False) for root in roots]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


def backward(seeds):
    """The gradients of Σ ⟨seed, node⟩ in all nodes behind, for seeds by node."""
    gradients = dict(seeds)
    for node in reversed(in_order(seeds)):
        if node not in gradients:
            continue
        for parent, pull in zip(node.parents, node.pulls):
            if parent.wanted:
                fraction = pull(gradients[node])
                gradients[parent] = gradients[parent] + fraction if parent in gradients else fraction
    return gradients


# Layers: the first axis are channels, the second images


def conv(x, w, stride):
    """Convolution of [C, N, H, W] with kernels [O, C, k, k], k // 2 zeros around each image, kernel entry by entry."""
    (_, images, height, width), (outputs, inputs, k, _) = x.value.shape, w.value.shape
    pad = k // 2
    padded = np.pad(x.value, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    size = [(length + 2 * pad - k) // stride + 1 for length in (height, width)]
    places = [(i, j) for i in range(k) for j in range(k)]

    def seen(a, i, j):
        rows, columns = (slice(at, at + stride * (n - 1) + 1, stride) for at, n in zip((i, j), size))
        return a[:, :, rows, columns]

    out = sum(w.value[:, :, i, j] @ seen(padded, i, j).reshape(inputs, -1) for i, j in places)

    def to_kernels(g):
        gradient, flat = np.empty_like(w.value), g.reshape(outputs, -1)
        for i, j in places:
            gradient[:, :, i, j] = flat @ seen(padded, i, j).reshape(inputs, -1).T
        return gradient

    def to_images(g):
        gradient, flat = np.zeros_like(padded), g.reshape(outputs, -1)
        for i, j in places:
            seen(gradient, i, j)[...] += (w.value[:, :, i, j].T @ flat).reshape(inputs, images, *size)
        return gradient[:, :, pad : pad + height, pad : pad + width]

    return made(out.reshape(outputs, images, *size), (x, to_images), (w, to_kernels))


def by_channel(values, x):
    """Values of channels, to go with x."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


def over_images(x):
    """All axes but the channels'."""
    return tuple(range(1, x.ndim))


def moments(x):
    """Mean and biased variance of each channel."""
    mean = x.mean(over_images(x))
    return mean, ((x - by_channel(mean, x)) ** 2).mean(over_images(x))


def batch_norm(x, gamma, beta, mean, variance):
    """γ (x − mean) / √(variance + ε) + β with the moments of x itself, which depend on x as well."""
    scale = by_channel(1 / np.sqrt(variance + EPSILON), x.value)
    unit = (x.value - by_channel(mean, x.value)) * scale
    axes, g_scale = over_images(unit), by_channel(gamma.value, unit) * scale

    def to_x(g):
        centred = g - by_channel(g.mean(axes), g)
        return g_scale * (centred - unit * by_channel((g * unit).mean(axes), g))

    out = by_channel(gamma.value, unit) * unit + by_channel(beta.value, unit)
    return made(out, (x, to_x), (gamma, lambda g: (g * unit).sum(axes)), (beta, lambda g: g.sum(axes)))


def fixed_norm(x, gamma, beta, mean, variance):
    """The same with moments that were kept; not to be differentiated."""
    scale = gamma.value / np.sqrt(variance + EPSILON)
    return Node(by_channel(scale, x.value) * (x.value - by_channel(mean, x.value)) + by_channel(beta.value, x.value))


class Rectified(Node):
    """relu(u), or relu(u − b) − relu(−u − b) with a threshold b ≥ 0."""

    def __init__(self, u, threshold):
        self.threshold = threshold
        self.slope = self.slope_at(u.value)
        value = u.value * self.slope
        if threshold is not None:
            value = np.sign(u.value) * np.maximum(np.abs(u.value) - threshold, 0)
        super().__init__(value, (u,), (lambda g: g * self.slope,))

    def slope_at(self, u):
        """The derivative, 0 or 1, as a truth value."""
        return u > 0 if self.threshold is None else np.abs(u) > self.threshold

    def distance(self, u):
        """How far the inputs are from where the derivative jumps."""
        return np.abs(u) if self.threshold is None else np.abs(np.abs(u) - self.threshold)


def add(a, b):
    """a + b."""
    return made(a.value + b.value, (a, lambda g: g), (b, lambda g: g))


def mean_pool(x):
    """The mean over positions, [C, N]."""
    spread = np.ones_like(x.value[:1, :1]) / (x.value.shape[2] * x.value.shape[3])
    return made(x.value.mean((2, 3)), (x, lambda g: g[:, :, None, None] * spread))


def linear(x, w, b):
    """Wᵀ x + b for W [in, out] and x [in, N]."""
    origins = ((x, lambda g: w.value @ g), (w, lambda g: x.value @ g.T), (b, lambda g: g.sum(1)))
    return made(w.value.T @ x.value + b.value[:, None], *origins)


def columns(x, start, end):
    """Images start to end."""

    def to_x(g):
        gradient = np.zeros_like(x.value)
        gradient[:, start:end] = g
        return gradient

    return made(x.value[:, start:end], (x, to_x))


def unit_columns(x):
    """Columns of length 1; a column of zeros stays one, and so does its gradient."""
    norms = np.sqrt((x.value**2).sum(0))
    inverse = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    unit = x.value * inverse
    return made(unit, (x, lambda g: (g - unit * (g * unit).sum(0)) * inverse))


def products(a, b, divisor):
    """Inner products of the columns of a and b over a divisor, [N_a, N_b]."""
    return made(
        a.value.T @ b.value / divisor, (a, lambda g: b.value @ g.T / divisor), (b, lambda g: a.value @ g / divisor)
    )


class SoftmaxLoss(Node):
    """factor · mean over columns of log Σ_k exp(logit_k) − logit_target; `left_out` entries are no candidates."""

    def __init__(self, logits, targets, factor=1.0, left_out=False):
        values = np.where(left_out, -np.inf, logits.value).astype(logits.value.dtype)
        count = values.shape[1]
        own = (targets, np.arange(count))
        shift = values.max(0)
        p = np.exp(values - shift)
        log_partition = np.log(p.sum(0)) + shift
        p /= p.sum(0)
        p[own] -= 1
        # What it is the difference of, whose rounding it has.
        self.size = factor * float(np.mean(np.abs(log_partition) + np.abs(values[own])))
        value = factor * np.mean(log_partition - values[own])
        super().__init__(value, (logits,), (lambda g: g * (factor / count) * p,))


# Networks

# The first convolution of each encoder.
STEMS = {"small_conv_net": "layers.0.conv.weight", "resnet18": "conv1.weight", "wide_resnet": "conv1.weight"}


def whole(value, path):
    """A positive whole number in nested JSON objects."""
    found = number(value, path)
    if found < 1 or found != int(found):
        raise Unreadable(f"run.json: {path} = {found} is not a positive whole number")
    return int(found)


def whole_numbers(value, path):
    """A list of positive whole numbers in nested JSON objects."""
    found = look_up(value, path)
    if not isinstance(found, list):
        raise Unreadable(f"run.json: {path} is not a list")
    return [whole({path: entry}, path) for entry in found]


class Network:
    """The network of a specification with the parameters and running statistics of a state."""

    def __init__(self, spec, tensors, state, training=False, dtype=np.float64):
        self.kind, self.config = variant(spec, "model.encoder")
        if self.kind not in STEMS:
            raise Unreadable(f"run.json: an encoder {self.kind} is not covered")
        self.spec, self.tensors, self.state, self.training, self.dtype = spec, tensors, state, training, dtype
        # By name: parameters, and moments of a batch behind each convolution in training.
        self.parameters, self.moments = {}, {}
        # Of the last pass: name, where the layer has one, and node of each activation.
        self.rectified = []

    # What networks are made of

    def read(self, name, *shape):
        """A tensor of the state."""
        return self.tensors.get(f"{self.state}.{name}", *shape).astype(self.dtype)

    def parameter(self, name, *shape):
        """A tensor that is trained."""
        if name not in self.parameters:
            self.parameters[name] = Node(self.read(name, *shape), wanted=self.training)
        return self.parameters[name]

    def conv(self, x, name, outputs, kernel, stride):
        """A convolution of the encoder."""
        shape = (outputs, x.value.shape[0], kernel, kernel)
        return conv(x, self.parameter(f"encoder.{name}.weight", *shape), stride)

    def norm(self, x, name):
        """Batch normalisation, with running statistics outside training."""
        count = x.value.shape[0]
        gamma, beta = (self.parameter(f"{name}.{part}", count) for part in ("gamma", "beta"))
        running = [self.read(f"{name}.running_{part}", count) for part in ("mean", "var")]
        if not self.training:
            return fixed_norm(x, gamma, beta, *running)
        self.moments[name] = moments(x.value)
        return batch_norm(x, gamma, beta, *self.moments[name])

    def rectify(self, x, name=None, last=False):
        """A ReLU, or the last activation."""
        kind, fields = variant(self.config, "last_activation") if last else ("relu", {})
        if kind not in ("relu", "symmetric_relu"):
            raise Unreadable(f"run.json: an activation {kind} is not covered")
        node = Rectified(x, None if kind == "relu" else number(fields, "threshold"))
        self.rectified.append((name, node))
        return node

    def linear(self, x, name, outputs):
        """A linear layer."""
        w = self.parameter(f"{name}.weight", x.value.shape[0], outputs)
        return linear(x, w, self.parameter(f"{name}.bias", outputs))

    # Encoders

    def encode(self, images):
        """Features [C, N] of images [N, 3, H, W]."""
        self.rectified = []
        x = Node(np.ascontiguousarray(np.moveaxis(images, 1, 0), self.dtype))
        return mean_pool(getattr(self, self.kind)(x))

    def small_conv_net(self, x):
        """Convolutions, each with a norm and an activation."""
        channels, strides = (whole_numbers(self.config, key) for key in ("channels", "strides"))
        for i, (outputs, stride) in enumerate(zip(channels, strides)):
            h = self.norm(self.conv(x, f"layers.{i}.conv", outputs, 3, stride), f"encoder.layers.{i}.norm")
            x = self.rectify(h, f"conv{i + 1}", last=i + 1 == len(channels))
        return x

    def resnet18(self, x):
        """Stem and four stages of two blocks."""
        width = whole(self.config, "width")
        x = self.rectify(self.norm(self.conv(x, "conv1", width, 3, 1), "encoder.bn1"), "conv1")
        for stage in range(4):
            for i in range(2):
                stride = 2 if stage > 0 and i == 0 else 1
                h = self.basic_block(x, f"layer{stage + 1}.{i}", width * 2**stage, stride)
                x = self.rectify(h, f"layer{stage + 1}.{i}", last=(stage, i) == (3, 1))
        return x

    def basic_block(self, x, name, outputs, stride):
        """Two convolutions beside a shortcut, in front of the activation."""
        at = f"encoder.{name}"
        h = self.rectify(self.norm(self.conv(x, f"{name}.conv1", outputs, 3, stride), f"{at}.bn1"))
        h = self.norm(self.conv(h, f"{name}.conv2", outputs, 3, 1), f"{at}.bn2")
        if stride != 1 or x.value.shape[0] != outputs:
            x = self.norm(self.conv(x, f"{name}.downsample.conv", outputs, 1, stride), f"{at}.downsample.norm")
        return add(h, x)

    def wide_resnet(self, x):
        """Stem and three groups of pre-activation blocks; a layer's activation is the one that follows it."""
        h, name = self.conv(x, "conv1", 16, 3, 1), "conv1"
        for group in range(3):
            for i in range((whole(self.config, "depth") - 4) // 6):
                block = f"block{group + 1}.{i}"
                a = self.rectify(self.norm(h, f"encoder.{block}.bn1"), name)
                outputs = 16 * 2**group * whole(self.config, "widen_factor")
                h, name = self.pre_activation_block(h, a, block, outputs, 2 if group > 0 and i == 0 else 1), block
        return self.rectify(self.norm(h, "encoder.norm"), name, last=True)

    def pre_activation_block(self, x, a, name, outputs, stride):
        """Two convolutions of the activated input beside a shortcut."""
        h = self.norm(self.conv(a, f"{name}.conv1", outputs, 3, stride), f"encoder.{name}.bn2")
        h = self.conv(self.rectify(h), f"{name}.conv2", outputs, 3, 1)
        if stride != 1 or x.value.shape[0] != outputs:
            x = self.conv(a, f"{name}.shortcut", outputs, 1, stride)
        return add(h, x)

    # What the loss sees

    def embed(self, images):
        """Projections, or scores of the classes for the supervised objective; [outputs, N]."""
        features = self.encode(images)
        if variant(self.spec, "objective")[0] == "supervised":
            return self.linear(features, "head", whole(self.spec, "data.images.content.num_classes"))
        config = look_up(self.spec, "model.projector")
        hidden_dims = whole_numbers(config, "hidden_dims")
        if len(hidden_dims) != 1:
            raise Unreadable(f"run.json: a projector of {len(hidden_dims)} hidden layers is not covered; only one is")
        h = self.linear(features, "projector.hidden.0", hidden_dims[0])
        if variant(config, "normalization")[0] == "batch":
            h = self.norm(h, "projector.norms.0")
        return self.linear(self.rectify(h), "projector.output", whole(config, "output_dim"))


# Losses


def loss_of(spec, embedded, classes):
    """The loss of what a network makes of a batch."""
    kind, fields = variant(spec, "objective")
    if kind == "supervised":
        return SoftmaxLoss(embedded, classes)
    if kind == "nt_xent":
        return nt_xent(embedded, number(fields, "temperature"))
    if kind == "info_nce":
        return info_nce(embedded, fields)
    raise Unreadable(f"run.json: an objective {kind} is not covered")


def nt_xent(embedded, temperature):
    """Each view against its partner among all other views."""
    views = embedded.value.shape[1]
    unit = unit_columns(embedded)
    partners = (np.arange(views) + views // 2) % views
    return SoftmaxLoss(products(unit, unit, temperature), partners, left_out=np.eye(views, dtype=bool))


def info_nce(embedded, fields):
    """Each first view against its second among all second views."""
    names = ("similarity", "key_gradient", "scale")
    similarity, key_gradient, scale = (variant(fields, name)[0] for name in names)
    known = (("inner_product", "cosine"), ("stopped", "flows"), ("temperature", "one"))
    for name, found, right in zip(names, (similarity, key_gradient, scale), known):
        if found not in right:
            raise Unreadable(f"run.json: objective.info_nce.{name} = {found} is not covered")
    temperature, count = number(fields, "temperature"), embedded.value.shape[1] // 2
    queries, keys = columns(embedded, 0, count), columns(embedded, count, 2 * count)
    if key_gradient == "stopped":
        keys = Node(keys.value)
    if similarity == "cosine":
        queries, keys = unit_columns(queries), unit_columns(keys)
    factor = temperature if scale == "temperature" else 1.0
    return SoftmaxLoss(products(keys, queries, temperature), np.arange(count), factor)


def similarities(embedded):
    """Mean cosines of the two views of an image, and of views of different images, if there are several."""
    count = embedded.shape[1] // 2
    unit = unit_columns(Node(embedded)).value
    cosines = unit[:, :count].T @ unit[:, count:]
    apart = cosines[~np.eye(count, dtype=bool)]
    return float(np.trace(cosines)) / count, float(apart.mean()) if count > 1 else None


# The step


class Step:
    """Loss and gradients of the step, in one precision."""

    def __init__(self, spec, step, images, dtype):
        batch = whole(spec, "optimization.batch_size")
        supervised = variant(spec, "objective")[0] == "supervised"
        views = step.get("views", batch if supervised else 2 * batch, 3, *images.size)
        classes = whole_tensor(step, "classes", images.classes, batch)
        self.network = Network(spec, step, "before", training=True, dtype=dtype)
        self.loss = loss_of(spec, self.network.embed(views), classes)
        self.nodes = [node for _, node in self.network.rectified]

    def gradients(self):
        """The gradients in all nodes."""
        return backward({self.loss: self.loss.value.dtype.type(1)})

    def of_parameters(self, gradients):
        """Gradients by parameter, 0 where there is none."""
        parameters = self.network.parameters.items()
        return {name: gradients.get(node, np.zeros_like(node.value)) for name, node in parameters}


def whole_tensor(tensors, name, below, *shape):
    """Whole numbers from 0 up to `below`."""
    found = tensors.get(name, *shape)
    if ((found != np.floor(found)) | (found < 0) | (found >= below)).any():
        raise Unreadable(f"{tensors.path}: {name} holds another number than 0 to {below - 1}")
    return found.astype(int)


def doubtful_inputs(double, single):
    """Inputs of activations that are within rounding of a jump of the derivative: node and place, the nearest first."""
    found = []
    for node, other in zip(double.nodes, single.nodes):
        u = node.parents[0].value
        error = DEVIATIONS * math.sqrt(np.mean((other.parents[0].value - u) ** 2))
        distance = node.distance(u)
        # What is 0 for want of anything to add up is no rounding.
        is_near = (node.slope_at(u - error) != node.slope_at(u + error)) & (distance > 0)
        found.extend((distance[at] / error, node, at) for at in zip(*np.nonzero(is_near)))
    return [(node, at) for _, node, at in sorted(found, key=lambda f: f[0])[:MAX_DOUBTFUL]]


def distance_of(a, b):
    """The norm of the difference of two gradients."""
    return math.sqrt(sum(float(np.sum((a[name] - b[name]) ** 2)) for name in a))


def nearest_gradient(step, doubtful, reported):
    """The gradient with doubtful inputs on the side that is nearer to the reported one, and how many changed sides."""
    gradients = step.gradients()
    found, changed = step.of_parameters(gradients), 0
    for node, at in doubtful:
        jump = np.zeros_like(node.value)
        jump[at] = gradients[node][at] * (-1 if node.slope[at] else 1)
        change = step.of_parameters(backward({node.parents[0]: jump}))
        other = {name: value + change[name] for name, value in found.items()}
        if distance_of(other, reported) < distance_of(found, reported):
            found, changed = other, changed + 1
            node.slope[at] ^= True
    return found, changed


def check_step(table, run, step, images):
    """Loss, gradient, running statistics and updates of one step."""
    spec = run["spec"]
    double, single = (Step(spec, step, images, dtype) for dtype in (np.float64, np.float32))
    # In 32-bit floats an input may be on the other side of 0; what that does is no measure of rounding.
    for node, other in zip(double.nodes, single.nodes):
        other.slope = node.slope
    of_single = abs(float(single.loss.value) - float(double.loss.value))
    table.number("loss", number(run, "loss"), float(double.loss.value), VALUE * double.loss.size + SINGLE * of_single)

    parameters = double.network.parameters
    reported = {name: step.get(f"gradient.{name}", *node.value.shape) for name, node in parameters.items()}
    doubtful = doubtful_inputs(double, single)
    expected, changed = nearest_gradient(double, doubtful, reported)
    check_gradient_norm(table, run, expected.values())
    check_gradient(table, reported, expected, single.of_parameters(single.gradients()))
    table.number("derivatives that rounding decided", changed, 0, len(doubtful))
    check_running(table, step, double.network, single.network)
    check_names(table, step, double.network)
    for optimizer in entries(run, "optimizers"):
        check_updates(table, step, parameters, reported, optimizer)


def check_gradient(table, reported, expected, single):
    """The whole gradient, the tensor and the entry that are worst for their tolerances."""

    def norm(of):
        return math.sqrt(sum(float(np.sum(value**2)) for value in of.values()))

    def compare(name, names):
        r, e, s = ({k: of[k] for k in names} for of in (reported, expected, single))
        # Where all cancels, as in front of a norm, what is left is rounding of the gradients behind.
        tolerance = GRADIENT * norm(e) + SINGLE * distance_of(e, s) + 2 * U * norm(expected)
        return Row(f"gradient, {name}", norm(r), norm(e), distance_of(r, e), tolerance)

    table.rows.append(compare("whole", list(expected)))
    tensors = [compare(f"worst tensor: {name}", [name]) for name in expected]
    table.rows.append(worst(tensors))
    entries = Table()
    for name, value in expected.items():
        largest, of_single = np.abs(value).max(), np.abs(single[name] - value).max()
        bound = GRADIENT * largest + SINGLE * of_single + 2 * U * norm(expected)
        entries.array(f"gradient, worst entry: {name}", reported[name], value, bound)
    table.rows.append(worst(entries.rows))


def worst(rows):
    """The line that is worst for its tolerance."""
    return max(rows, key=lambda row: row.difference / row.tolerance if row.tolerance > 0 else row.difference)


def check_running(table, step, network, single):
    """Running statistics behind the forward pass: the moments of the batch come in with a fraction of MOMENTUM."""
    for k, part in enumerate(("mean", "var")):
        rows = []
        for name, (mean, variance) in network.moments.items():
            value, of_single = (of.moments[name][k] for of in (network, single))
            before, after = (
                step.get(f"{state}.{name}.running_{part}", *value.shape) for state in ("before", "after_forward")
            )
            # Rounding of inputs is relative to their size, not to their spread.
            size = np.sqrt(mean**2 + variance) * (1 if part == "mean" else np.sqrt(variance))
            bound = MOMENTUM * (VALUE * size + SINGLE * np.abs(of_single - value)) + 4 * U * np.abs(before)
            rows.append((after, (1 - MOMENTUM) * before + MOMENTUM * value, bound))
        if rows:
            table.array(f"running_{part} behind the step", *(np.concatenate(values) for values in zip(*rows)))


def check_names(table, step, network):
    """No tensor is there that the network does not have."""
    running = [f"{name}.running_{part}" for name in network.moments for part in ("mean", "var")]
    known = {f"before.{name}" for name in [*network.parameters, *running]}
    known |= {f"gradient.{name}" for name in network.parameters} | {f"after_forward.{name}" for name in running}
    found = [name for name in step.arrays if name.split(".")[0] in ("before", "gradient", "after_forward")]
    table.count("tensors of a step that the network does not have", [name not in known for name in found])


def entries(value, path):
    """A list of JSON objects."""
    found = look_up(value, path)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Unreadable(f"run.json: {path} is not a list of objects")
    return found


# Optimizers


def check_updates(table, step, parameters, gradients, optimizer):
    """The parameters after one update with the gradient and one more with GRADIENT_FACTORS[1] of it, from no state."""
    name, eta = str(look_up(optimizer, "name")), number(optimizer, "learning_rate")
    kind, config = variant(optimizer, "config")
    if kind not in UPDATES:
        raise Unreadable(f"run.json: an optimizer {kind} is not covered")
    after = {1: [], 2: []}
    for parameter, node in parameters.items():
        w, g = node.value, gradients[parameter]
        # Norms and biases, which are the vectors, are not decayed.
        decay = number(config, "weight_decay") if w.ndim > 1 else 0.0
        for k, (expected, bound) in enumerate(UPDATES[kind](config, eta, decay, w, g), 1):
            reported = step.get(f"{name}.{k}.{parameter}", *w.shape)
            after[k].append([value.ravel() for value in (reported, expected, bound)])
    for k, parts in after.items():
        table.array(f"{name}, update {k}", *(np.concatenate(values) for values in zip(*parts)))


def sgd(config, eta, decay, w, g):
    """v ← μ v + g + λ w; w ← w − η v, or with Nesterov's momentum w ← w − η (g + λ w + μ v)."""
    momentum, nesterov = number(config, "momentum"), bool(look_up(config, "nesterov"))
    v, v_size, bound = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for factor in GRADIENT_FACTORS:
        d, size = factor * g + decay * w, abs(factor) * np.abs(g) + decay * np.abs(w)
        v, v_size = momentum * v + d, momentum * v_size + size
        used, used_size = (d + momentum * v, size + momentum * v_size) if nesterov else (v, v_size)
        w = w - eta * used
        # Eight roundings at most, each of a number that is no larger than the sum of the sizes of all terms.
        bound = bound + 8 * U * (np.abs(w) + eta * used_size)
        yield w, bound


def adamw(config, eta, decay, w, g):
    """Moments with their bias corrected; w ← (1 − η λ) w − η m / (√v + ε)."""
    beta_1, beta_2, epsilon = (number(config, key) for key in ("beta_1", "beta_2", "epsilon"))
    m, v, m_size, bound = (np.zeros_like(w) for _ in range(4))
    # β is rounded, too, and 1 − β and 1 − β^k are off by U / (1 − β) of themselves.
    relative = 8 * U + 2 * U / (1 - beta_1) + 2 * U / (1 - beta_2)
    for k, factor in enumerate(GRADIENT_FACTORS, 1):
        m, v = beta_1 * m + (1 - beta_1) * factor * g, beta_2 * v + (1 - beta_2) * (factor * g) ** 2
        m_size = beta_1 * m_size + (1 - beta_1) * abs(factor) * np.abs(g)
        rate = eta / (1 - beta_1**k) / (np.sqrt(v / (1 - beta_2**k)) + epsilon)
        w = (1 - eta * decay) * w - rate * m
        # Moments of gradients of both signs cancel; their roundings do not.
        bound = bound + 4 * U * np.abs(w) + relative * rate * m_size
        yield w, bound


def lars(config, eta, decay, w, g):
    """v ← μ v + η r (g + λ w), r = c ‖w‖ / ‖g + λ w‖ but for vectors; w ← w − v."""
    momentum, trust = number(config, "momentum"), number(config, "trust_coefficient")
    v, v_size, bound = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    # Two norms, each the root of a sum of squares.
    relative = (8 + 2 * math.sqrt(w.size)) * U
    for factor in GRADIENT_FACTORS:
        d, ratio = factor * g + decay * w, 1.0
        if w.ndim > 1 and np.any(w) and np.any(d):
            ratio = trust * np.linalg.norm(w) / np.linalg.norm(d)
        size = abs(factor) * np.abs(g) + decay * np.abs(w)
        v, v_size = momentum * v + eta * ratio * d, momentum * v_size + eta * ratio * size
        w = w - v
        bound = bound + 4 * U * np.abs(w) + relative * v_size
        yield w, bound


# The gradient of each update in units of that of the step: with the same one twice the moments of Adam would hide their rates.
GRADIENT_FACTORS = (1.0, -0.5)

UPDATES = {"sgd": sgd, "adamw": adamw, "lars": lars}


# Images


class Images:
    """Training and test images: pixels, classes, channel statistics of the training images."""

    def __init__(self, spec, tensors):
        self.classes = whole(spec, "data.images.content.num_classes")
        self.size = tuple(int(v) for v in numbers(spec, "data.images.content.size", 2))
        counts = {part: whole(spec, f"data.images.content.{part}") for part in ("train", "test")}
        self.pixels = {part: tensors.get(f"{part}_pixels", n, 3, *self.size) for part, n in counts.items()}
        self.labels = {part: whole_tensor(tensors, f"{part}_labels", self.classes, n) for part, n in counts.items()}
        train = self.pixels["train"] / 255
        varies = train.max((0, 2, 3)) > train.min((0, 2, 3))
        self.mean, self.deviation = train.mean((0, 2, 3)), np.where(varies, train.std((0, 2, 3)), 0.0)

    def count(self, part):
        """The number of training or test images."""
        return len(self.labels[part])

    def normalised(self, pixels):
        """What a network sees of pixels: (x − mean) / deviation, 0 in a channel that does not vary."""
        mean, deviation = (values[:, None, None] for values in (self.mean, self.deviation))
        return np.where(deviation > 0, (pixels / 255 - mean) / np.where(deviation > 0, deviation, 1.0), 0.0)


def check_images(table, run, images):
    """Pixels are bytes; mean and deviation of the channels."""
    pixels = np.concatenate([of.ravel() for of in images.pixels.values()])
    table.count("pixels other than 0 to 255", (pixels != np.floor(pixels)) | (pixels < 0) | (pixels > 255))
    for name, found in (("channel_mean", images.mean), ("channel_std", images.deviation)):
        table.array(name, numbers(run, name, 3), found, 2 * U * found)


@dataclass
class Schedule:
    """Steps of an epoch and of the whole run."""

    per_epoch: int
    steps: int


def schedule(spec, images):
    """What does not fill a batch at the end of an epoch is left out."""
    per_epoch = images.count("train") // whole(spec, "optimization.batch_size")
    return Schedule(per_epoch, whole(spec, "optimization.epochs") * per_epoch)


def check_schedule(table, run, times):
    """Learning rates; steps, epochs and learning rates of the snapshots."""
    spec = run["spec"]
    expected = np.array([learning_rate(spec, step, times.per_epoch) for step in range(times.steps)])
    table.array("learning rates", numbers(run, "learning_rates", times.steps), expected, EXACT * expected.max())
    every = times.per_epoch * whole(spec, "optimization.snapshot_every")
    steps = np.arange(0, times.steps + 1, every)
    snapshots = entries(run, "snapshots")
    if len(snapshots) != len(steps):
        raise Unreadable(f"run.json: there are {len(snapshots)} snapshots instead of {len(steps)}")
    keys = ("step", "epoch", "learning_rate")
    found = {key: np.array([number(snapshot, key) for snapshot in snapshots]) for key in keys}
    table.array("snapshots: step", found["step"], steps, 0.0)
    table.array("snapshots: epoch", found["epoch"], steps // times.per_epoch, 0.0)
    before = expected[np.maximum(steps - 1, 0)]
    table.array("snapshots: learning_rate", found["learning_rate"], before, EXACT * expected.max())


# Parts of the sets

PARTS = {
    "snapshot_train": ("train", "evaluation.snapshot_train"),
    "snapshot_test": ("test", "evaluation.snapshot_test"),
    "held_out": ("test", "optimization.batch_size"),
    "looked_into": ("test", LOOKED_INTO),
    "directions_train": ("train", DIRECTION_IMAGES),
    "directions_test": ("test", DIRECTION_IMAGES),
}


def read_parts(run, images):
    """The images of each part."""
    parts = {}
    for name, (of, size) in PARTS.items():
        size = size if isinstance(size, int) else whole(run["spec"], size)
        part = numbers(run, f"parts.{name}", min(size, images.count(of)))
        if sorted(part) != sorted(set(part) & set(range(images.count(of)))):
            raise Unreadable(f"run.json: parts.{name} holds another number than one of different images")
        parts[name] = part.astype(int)
    return parts


def check_parts(table, images, parts):
    """Parts of a set are beginnings of one order, in each of which classes have their proportions; two of them are sorted."""
    for of, ordered in (("train", ("directions_train",)), ("test", ("held_out", "looked_into", "directions_test"))):
        longest = max((parts[name] for name in ordered), key=len)
        table.count(f"parts of {of}: not in one order", [np.any(longest[: len(parts[k])] != parts[k]) for k in ordered])
        part = parts[f"snapshot_{of}"]
        table.count(f"parts of {of}: snapshot's not sorted", np.diff(part) < 0)
        table.count(f"parts of {of}: snapshot's of another order", ~np.isin(longest[: len(part)], part))
        labels = images.labels[of]
        fractions = [out_of_proportion(labels, part) for name, part in parts.items() if PARTS[name][0] == of]
        table.count(f"parts of {of}: classes out of proportion", fractions)


def out_of_proportion(labels, part):
    """Whether a part is not what comes first when the k-th of n images of a class has place (2 k + 1)/n."""
    sizes = np.bincount(labels)
    taken = np.bincount(labels[part], minlength=len(sizes))[sizes > 0]
    sizes = sizes[sizes > 0]
    left = np.where(taken < sizes, (2 * taken + 1) / sizes, np.inf)
    return bool(np.max((2 * taken - 1) / sizes) > left.min() + EXACT)


# Scores


def check_optional(table, name, reported, recomputed, tolerance):
    """Compares two numbers, either of which may be undefined, which is null in JSON; both or neither have to be."""
    if reported is None and recomputed is None:
        table.count(f"{name} (undefined)", 0)
    else:
        values = [math.nan if value is None else float(value) for value in (reported, recomputed)]
        table.number(name, *values, tolerance)


def optional(value, path):
    """A number or null in nested JSON objects."""
    return None if look_up(value, path) is None else number(value, path)


def cosine_error(dimensions):
    """What rounding may do to a cosine."""
    # Features are off by 4 U of their length. A sum of n products whose partial sums grow in proportion to it is off by
    # U sqrt(n) / 3 in the mean square; three times that.
    return (4 + math.sqrt(dimensions)) * U


@dataclass
class Classified:
    """Classes that were found, and images for which rounding may decide."""

    predicted: np.ndarray
    unsure: np.ndarray


def knn(spec, train, labels, test):
    """The class for which the most similar training rows vote with weight exp(cosine / τ)."""
    keys = unit_columns(Node(train.T)).value
    found = [vote(spec, unit_columns(Node(rows.T)).value.T @ keys, labels, train.shape[1]) for rows in chunks(test)]
    return Classified(*(np.concatenate(values) for values in zip(*found)))


def vote(spec, cosines, labels, dimensions):
    """Classes by cosines with training rows, of equal rows the earlier first, and whether rounding may decide."""
    neighbors = min(whole(spec, "evaluation.neighbors"), len(labels))
    temperature, error = number(spec, "evaluation.temperature"), cosine_error(dimensions)
    order = np.argsort(-cosines, axis=1, kind="stable")
    ranked = np.take_along_axis(cosines, order, 1)
    # What is as near to the first that is not taken, or to the last that is, may be taken or not.
    taken = np.broadcast_to(np.arange(len(labels)) < neighbors, ranked.shape)
    surely = taken & (ranked > ranked[:, neighbors : neighbors + 1] + 2 * error) if neighbors < len(labels) else taken
    maybe = ranked >= ranked[:, [neighbors - 1]] - 2 * error
    taken, surely, maybe, ranked = (rows[:, : maybe.sum(1).max()] for rows in (taken, surely, maybe, ranked))
    weights, member = np.exp((ranked - ranked[:, :1]) / temperature), labels[order[:, : ranked.shape[1]]]
    classes = np.arange(whole(spec, "data.images.content.num_classes"))
    votes, least, most = (
        np.stack([(weights * which * (member == c)).sum(1) for c in classes], 1) for which in (taken, surely, maybe)
    )
    predicted = votes.argmax(1)
    own = np.take_along_axis(least, predicted[:, None], 1)[:, 0]
    others = np.where(classes == predicted[:, None], -np.inf, most).max(1)
    # Weights may be off by a factor exp(error / τ), either way.
    return predicted, others * math.exp(2 * error / temperature) >= own


def probe(train, labels, test):
    """Logistic regression with the penalty |W|²/2 on the summed loss, on standardised features."""
    present = np.unique(labels)
    if len(present) == 1:
        return Classified(np.full(len(test), present[0]), np.zeros(len(test), bool))
    train, test = standardised(train, test)
    # For two classes scikit-learn fits the difference w of the two columns of W: |W|² = |w|²/2.
    strength = 2.0 if len(present) == 2 else 1.0
    model = LogisticRegression(C=strength, solver="newton-cg", tol=1e-8, max_iter=1000).fit(train, labels)
    scores = model.decision_function(test)
    scores = np.stack([-scores / 2, scores / 2], 1) if len(present) == 2 else scores
    p = model.predict_proba(train)
    # The penalty makes the loss convex with modulus 1, so that a gradient of sqrt(2 EXCESS n) may be left. Along a
    # direction in which features have variance v that moves scores by sqrt(2 EXCESS n v) / (n v p (1 - p) + 1), which
    # is at most sqrt(EXCESS / (2 p (1 - p))); two scores.
    spread = np.mean(p * (1 - p), 0).min()
    ranked = np.sort(scores, axis=1)
    unsure = ranked[:, -1] - ranked[:, -2] < math.sqrt(2 * EXCESS / spread)
    return Classified(present[scores.argmax(1)], unsure)


def check_score(table, name, reported, found, truth, classes):
    """Accuracy and confusion, which are the same but for images for which rounding may decide."""
    unsure = float(found.unsure.sum())
    accuracy = number(reported, "accuracy")
    table.number(f"{name}: accuracy", accuracy, float(np.mean(found.predicted == truth)), unsure / len(truth) + EXACT)
    matrix = look_up(reported, "confusion")
    if not isinstance(matrix, list) or len(matrix) != classes:
        raise Unreadable(f"run.json: a confusion must hold {classes} rows")
    matrix = np.stack([numbers({"confusion": row}, "confusion", classes) for row in matrix])
    expected = np.zeros((classes, classes))
    np.add.at(expected, (truth, found.predicted), 1)
    moved = float(np.abs(matrix - expected).sum() / 2)
    table.rows.append(Row(f"{name}: confusion", float(np.trace(matrix)), float(np.trace(expected)), moved, unsure))
    table.number(f"{name}: accuracy of the confusion", accuracy, np.trace(matrix) / len(truth), EXACT)


def check_scores(table, spec, name, reported, images, features):
    """kNN and linear probe of all test images by all training images."""
    train, test = features["train"], features["test"]
    labels, truth = images.labels["train"], images.labels["test"]
    of_knn, of_probe = knn(spec, train, labels, test), probe(train, labels, test)
    check_score(table, f"{name}: knn", look_up(reported, "knn"), of_knn, truth, images.classes)
    check_score(table, f"{name}: probe", look_up(reported, "probe"), of_probe, truth, images.classes)


# The networks at the end


def chunks(rows):
    """Rows in parts that fit in memory."""
    return [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]


def features_of(network, images):
    """Features of all training and test images, [n, C]."""
    return {
        part: np.concatenate([network.encode(images.normalised(chunk)).value.T for chunk in chunks(pixels)])
        for part, pixels in images.pixels.items()
    }


def squares(images):
    """Pixels averaged over squares; what fills none at the right and at the bottom is left out."""
    height, width = (length // SQUARE for length in images.size)

    def averaged(pixels):
        x = images.normalised(pixels)[:, :, : height * SQUARE, : width * SQUARE]
        return x.reshape(len(x), 3, height, SQUARE, width, SQUARE).mean((3, 5)).reshape(len(x), -1)

    return {part: averaged(pixels) for part, pixels in images.pixels.items()}


def check_state(table, run, end, images, parts, state, snapshot):
    """Features, scores and snapshot of a network at the end; its features."""
    spec, reported = run["spec"], look_up(run, f"evaluation.{state}")
    network = Network(spec, end, state)
    features = features_of(network, images)
    test = features["test"]
    of_report = end.get(f"{state}.test_features", *test.shape)
    table.array(f"{state}: test features", of_report, test, VALUE * np.abs(test).max())
    check_held_out(table, spec, network, end, images, parts["held_out"], snapshot)
    voting, asked = parts["snapshot_train"], parts["snapshot_test"]
    check_rank(table, state, snapshot, test[asked])
    found = knn(spec, features["train"][voting], images.labels["train"][voting], test[asked])
    right = float(np.mean(found.predicted == images.labels["test"][asked]))
    name, tolerance = f"{state}: knn of its snapshot", float(np.mean(found.unsure)) + EXACT
    check_optional(table, name, optional(snapshot, "knn_accuracy"), right, tolerance)
    check_scores(table, spec, state, reported, images, features)
    return features


def check_held_out(table, spec, network, end, images, part, snapshot):
    """Loss and similarities on views of test images, against the snapshot."""
    supervised = variant(spec, "objective")[0] == "supervised"
    count = len(part) if supervised else 2 * len(part)
    views = end.get(f"{network.state}.held_out_views", count, 3, *images.size)
    embedded = np.concatenate([network.embed(chunk).value for chunk in chunks(views)], 1)
    loss = loss_of(spec, Node(embedded), images.labels["test"][part])
    table.number(f"{network.state}: held-out loss", number(snapshot, "loss"), float(loss.value), VALUE * loss.size)
    positive, negative = (None, None) if supervised else similarities(embedded)
    for name, value in (("positive_similarity", positive), ("negative_similarity", negative)):
        check_optional(table, f"{network.state}: {name}", optional(snapshot, name), value, VALUE)
    if not supervised and len(part) >= LEAST_PAIRS:
        outputs = np.split(embedded.T, 2)
        check_outputs(table, network.state, snapshot, *outputs)
        features = np.concatenate([network.encode(chunk).value.T for chunk in chunks(views)])
        check_view_distances(table, network.state, snapshot, np.split(features, 2), outputs)


def best_snapshot(snapshots):
    """The snapshot with the best accuracy, of equal ones the first."""
    accuracies = [optional(snapshot, "knn_accuracy") for snapshot in snapshots]
    return snapshots[int(np.argmax([-math.inf if accuracy is None else accuracy for accuracy in accuracies]))]


def check_baselines(table, run, end, images):
    """Scores of pixels and of the network before training."""
    reported = look_up(run, "evaluation.baselines")
    table.count("baselines: there as asked for", (reported is not None) != look_up(run, "spec.evaluation.baselines"))
    if reported is None:
        return
    check_scores(table, run["spec"], "pixels", look_up(reported, "pixels"), images, squares(images))
    untrained = features_of(Network(run["spec"], end, "untrained"), images)
    check_scores(table, run["spec"], "untrained", look_up(reported, "untrained"), images, untrained)


# What is inside


def without_color(pixels):
    """The luma of ITU-R 601-2 in all channels, in whole numbers."""
    luma = 0.299 * pixels[:, 0] + 0.587 * pixels[:, 1] + 0.114 * pixels[:, 2]
    return np.repeat(np.floor(luma + 0.5)[:, None], 3, 1)


class Activity:
    """What is gathered of a layer over images."""

    def __init__(self, units):
        self.images = self.entries = self.zeros = self.unsure = self.participation = 0.0
        self.changed, self.total = np.zeros(units), np.zeros(units)

    def add(self, node, gray):
        """Adds the activations [C, N, H, W] of images and of their copies without colour."""
        a, u = node.value, node.parents[0].value
        distance = node.distance(u)
        self.entries += a.size
        self.zeros += float(np.sum(a == 0))
        self.unsure += float(np.sum((distance > 0) & (distance < VALUE * math.sqrt(np.mean(u**2)))))
        means = np.abs(a.mean((2, 3)))
        squares = (means**2).sum(0)
        ratio = np.divide(means.sum(0) ** 2, len(means) * squares, out=np.zeros_like(squares), where=squares > 0)
        self.images += len(ratio)
        self.participation += ratio.sum()
        self.changed += np.abs(a - gray.value).sum((1, 2, 3))
        self.total += (np.abs(a) + np.abs(gray.value)).sum((1, 2, 3))

    @property
    def selectivity(self):
        """Per unit, how much of its response changes with colour."""
        return np.divide(self.changed, self.total, out=np.zeros_like(self.total), where=self.total > 0)


def look_inside(network, images, part):
    """What layers do on test images, by name."""
    layers = {}
    for chunk in chunks(images.pixels["test"][part]):
        network.encode(images.normalised(chunk))
        colored = network.rectified
        network.encode(images.normalised(without_color(chunk)))
        for (name, node), (_, gray) in zip(colored, network.rectified):
            if name is not None:
                layers.setdefault(name, Activity(len(node.value))).add(node, gray)
    return layers


def check_analysis(table, run, end, images, parts):
    """Zeros, density and units that ask for colour in each layer; colour in the first filters."""
    reported = look_up(run, "evaluation.analysis")
    table.count("analysis: there as asked for", (reported is not None) != look_up(run, "spec.evaluation.analysis"))
    if reported is None:
        return
    network = Network(run["spec"], end, "last")
    layers = look_inside(network, images, parts["looked_into"])
    found = entries(reported, "layers")
    if [look_up(layer, "name") for layer in found] != list(layers):
        raise Unreadable(f"run.json: evaluation.analysis.layers are others than {', '.join(layers)}")
    for layer, (name, activity) in zip(found, layers.items()):
        zeros, unsure = (v / activity.entries for v in (activity.zeros, activity.unsure))
        table.number(f"{name}: zero_fraction", number(layer, "zero_fraction"), zeros, unsure + EXACT)
        density = activity.participation / activity.images
        table.number(f"{name}: density", number(layer, "density"), density, VALUE)
        # Rounding to whole numbers may differ for a pixel in a thousand, by one.
        unsure = np.mean(np.abs(activity.selectivity - SELECTIVE) < 1e-3)
        fraction = np.mean(activity.selectivity >= SELECTIVE)
        path = "color_selective_fraction"
        table.number(f"{name}: {path}", number(layer, path), float(fraction), float(unsure) + EXACT)
    filters = network.parameters[f"encoder.{STEMS[network.kind]}"].value
    fractions = numbers(reported, "filter_color_fractions", len(filters))
    table.array("filter_color_fractions", fractions, color_fractions(filters), EXACT)


def color_fractions(filters):
    """Per filter [3, k, k], the fraction of its squared norm around the mean of the three channels."""
    total = (filters**2).sum((1, 2, 3))
    colored = ((filters - filters.mean(1, keepdims=True)) ** 2).sum((1, 2, 3))
    return np.divide(colored, total, out=np.zeros_like(total), where=total > 0)


# Directions of the pixels


class Ridge:
    """Ridge regression of many targets on standardised features, for all penalties at once."""

    def __init__(self, train, test):
        self.train, self.test = standardised(train, test)
        self.values, self.vectors = np.linalg.eigh(self.train.T @ self.train / len(train))

    def r_squared(self, y, y_test):
        """R² on the test rows, [penalties, targets]."""
        right = self.vectors.T @ (self.train.T @ (y - y.mean(0)) / len(y))
        beta = np.stack([self.vectors @ (right / (self.values + penalty)[:, None]) for penalty in RIDGE_PENALTIES])
        rest = ((y_test - y.mean(0) - self.test @ beta) ** 2).sum(1)
        total = ((y_test - y_test.mean(0)) ** 2).sum(0)
        return 1 - np.divide(rest, total, out=np.full_like(rest, np.nan), where=varying(y_test))


def varying(y):
    """Whether targets vary by more than rounding."""
    return y.std(0) > ROUNDING_FRACTION * np.abs(y.mean(0))


@dataclass
class Kept:
    """R² of targets, NaN where they do not vary, by penalty, and which penalties may have been chosen."""

    r_squared: np.ndarray
    chosen: np.ndarray

    def of(self, target):
        """R² of a target for each penalty that may have been chosen, or none."""
        values = self.r_squared[self.chosen[:, target], target]
        return None if np.isnan(values).any() else values


def kept(train, y, test, y_test):
    """R² of targets [n, k] on test rows, with the penalty that does best on the last quarter of the training rows."""
    fit = len(train) - int(len(train) * VALIDATION_FRACTION)
    scores = Ridge(train[:fit], train[fit:]).r_squared(y[:fit], y[fit:])
    # Where nothing is to be chosen by, all are as good, and the last is taken.
    scores = np.where(np.isnan(scores), (np.arange(len(scores)) == len(scores) - 1)[:, None], scores)
    return Kept(Ridge(train, test).r_squared(y, y_test), scores >= scores.max(0) - SAME_SCORE)


def check_kept(table, name, reported, values, turned=0.0):
    """Compares an R² with the nearest of those that it may be."""
    path = "kept_r_squared"
    of_report = optional(reported, path)
    if values is not None:
        values = float(values[np.argmin(np.abs(values - (of_report or 0.0)))])
    # Errors are relative to what is not explained, where that is more than all.
    tolerance = (R_SQUARED + 2 * turned) * max(1.0, 1.0 - (values or 0.0))
    check_optional(table, f"{name}: {path}", of_report, values, tolerance)


@dataclass
class Directions:
    """Unit directions [k, 3 h w], and the angle by which rounding may turn each."""

    rows: np.ndarray
    turned: np.ndarray


def directions_of(x):
    """Brightness, red against green, yellow against blue, and the leading principal directions of rows."""
    colors = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]])
    colors = np.repeat(colors, x.shape[1] // 3, axis=1)
    colors /= np.linalg.norm(colors, axis=1, keepdims=True)
    centred = x - x.mean(0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = np.append(values[::-1], 0.0), vectors[:, ::-1]
    count = int(np.sum(values[:PRINCIPAL] > 1e-9 * values.clip(0).sum()))
    gaps = np.append(np.inf, values[:count] - values[1 : count + 1])
    turned = PRODUCTS * values[0] / np.minimum(gaps[:-1], gaps[1:])
    principal = (vectors[:, :count] / np.sqrt(values[:count])).T @ centred
    return Directions(np.concatenate([colors, principal]), np.append(np.zeros(3), turned))


def view_correlations(end, directions, images, count, variance):
    """Pearson's of both views along each direction over all pairs; NaN where a side does not vary."""
    shape = (2 * count, 3, *images.size)
    views = [end.get(f"direction_views.{k}", *shape).reshape(2, count, -1) @ directions.rows.T for k in range(PAIRS)]
    sides = np.concatenate(views, 1)
    sides = sides - sides.mean(1, keepdims=True)
    squares, product = (sides**2).sum(1), (sides[0] * sides[1]).sum(0)
    varies = squares.min(0) > ROUNDING_FRACTION * variance * sides.shape[1]
    return np.divide(product, np.sqrt(squares[0] * squares[1]), out=np.full_like(product, np.nan), where=varies)


def check_directions(table, run, end, images, parts, features):
    """Variance along directions, correlation of views along them, and what the last encoder keeps of them."""
    reported = look_up(run, "evaluation.directions")
    table.count("directions: there as asked for", (reported is not None) != look_up(run, "spec.evaluation.analysis"))
    if reported is None:
        return
    reported = entries(run, "evaluation.directions")
    fitted, scored = parts["directions_train"], parts["directions_test"]
    x, x_test = (
        images.normalised(images.pixels[of][part]).reshape(len(part), -1)
        for of, part in (("train", fitted), ("test", scored))
    )
    found = directions_of(x)
    names = ["brightness", "red − green", "yellow − blue", *(f"PC {k + 1}" for k in range(PRINCIPAL))]
    if [look_up(direction, "name") for direction in reported] != names[: len(reported)]:
        raise Unreadable(f"run.json: evaluation.directions are others than {', '.join(names)}")
    total = float(((x - x.mean(0)) ** 2).sum())
    along, along_test = (rows @ found.rows.T for rows in (x, x_test))
    fractions = ((along - along.mean(0)) ** 2).sum(0) / (total if total > 0 else 1.0)
    correlations = view_correlations(end, found, images, len(fitted), total / len(fitted))
    r_squared = kept(features["train"][fitted], along, features["test"][scored], along_test)
    # Directions that are there by rounding alone may be missing or not.
    table.count("directions that are missing", fractions[len(reported) :] > VALUE)
    for direction in reported[len(fractions) :]:
        table.number(f"{direction['name']}: variance_fraction", number(direction, "variance_fraction"), 0.0, VALUE)
    for k, direction in enumerate(reported[: len(fractions)]):
        turned = float(found.turned[k])
        check_direction(table, direction, float(fractions[k]), float(correlations[k]), r_squared.of(k), turned)


def check_direction(table, reported, fraction, correlation, r_squared, turned):
    """What is reported of one direction."""
    name = look_up(reported, "name")
    table.number(f"{name}: variance_fraction", number(reported, "variance_fraction"), fraction, VALUE)
    if turned > TURNED:
        return
    path, correlation = "view_correlation", None if math.isnan(correlation) else correlation
    check_optional(table, f"{name}: {path}", optional(reported, path), correlation, VALUE + 2 * turned)
    r_squared = r_squared if fraction > ROUNDING_FRACTION else None
    check_kept(table, name, reported, r_squared, turned)


LATENTS = {
    "colour of the shape": (0, 1, 2),
    "colour of the ground": (3, 4, 5),
    "position": (6, 7),
    "size": (8,),
}


def check_latents(table, run, end, images, features):
    """How well latents of generated images can be read off the features, mean R² over the coordinates of each."""
    reported = look_up(run, "evaluation.latents")
    generated = variant(run["spec"], "data.images.dataset")[0] == "shapes"
    table.count("latents: there for generated images", (reported is not None) != generated)
    if reported is None:
        return
    reported = entries(run, "evaluation.latents")
    if [look_up(latent, "name") for latent in reported] != list(LATENTS):
        raise Unreadable(f"run.json: evaluation.latents are others than {', '.join(LATENTS)}")
    y, y_test = (end.get(f"latents_{part}", images.count(part), 9) for part in ("train", "test"))
    r_squared = kept(features["train"], y, features["test"], y_test)
    for latent, (name, coordinates) in zip(reported, LATENTS.items()):
        values = [r_squared.of(k) for k in coordinates]
        # All means of what the R² of the coordinates may be.
        means = None if any(v is None for v in values) else np.mean(list(itertools.product(*values)), axis=1)
        check_kept(table, name, latent, means)


# All of it


def check(folder):
    """Compares everything in a folder."""
    run = read_json(folder / "run.json")
    if look_up(run, "kind") != "images":
        raise Unreadable(f"run.json: kind is {run['kind']!r}; only images are covered")
    spec = look_up(run, "spec")
    images = Images(spec, Tensors(folder / "images.safetensors"))
    step, end = Tensors(folder / "step.safetensors"), Tensors(folder / "end.safetensors")
    times, parts, table = schedule(spec, images), read_parts(run, images), Table()
    check_images(table, run, images)
    check_schedule(table, run, times)
    check_parts(table, images, parts)
    check_step(table, run, step, images)

    snapshots = entries(run, "snapshots")
    best = best_snapshot(snapshots)
    table.number("best_step", number(run, "evaluation.best_step"), number(best, "step"), 0.0)
    features = check_state(table, run, end, images, parts, "last", snapshots[-1])
    check_state(table, run, end, images, parts, "best", best)
    check_baselines(table, run, end, images)
    check_analysis(table, run, end, images, parts)
    check_directions(table, run, end, images, parts, features)
    check_latents(table, run, end, images, features)
    return table


def main(arguments):
    """Prints the table; the exit status."""
    return print_check("check_images.py", check, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
