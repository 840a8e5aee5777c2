"""Recomputes a step of an objective of two views, from the definitions alone.

    python check_objective.py FOLDER

FOLDER holds `run.json` and `step.safetensors`. The loss is computed again in double precision with numpy; gradients are held
against central differences of that loss along random directions and along the gradient itself, so that no formula of a gradient
is needed. The loss has kinks where inner products pass their thresholds: differences are taken with every output on the side of its
kinks on which the state is, and what the side of an input within rounding of a kink changes is allowed for. The update, with its
clipping, weight decay, predictor and momentum copy, is computed again as well. Nothing of the program under test is used. Exit
status: 0 when all numbers agree, 1 when one does not, 2 when a file is missing or damaged or the run is of a kind that is not
covered.

The signals of the snapshot before the step (signals.py) are computed again, too.

Covered: the paper's encoder without normalisation and projector by plain gradient descent, under NT-Xent and its decoupled form,
the spectral loss, Barlow Twins, VICReg, the negative cosine with a matrix as predictor and a momentum copy or without, alignment and
uniformity, masked reconstruction, and InfoNCE with a momentum copy and a queue. Thresholds are taken as they are: check_run.py
recomputes them.
"""

import sys

import numpy as np

sys.dont_write_bytecode = True
from reading import Table, Tensors, U, Unreadable, learning_rate, look_up, number, print_check, read_json, variant  # noqa: E402
from signals import check_snapshot, unit  # noqa: E402

# Directions of central differences, and half their length over that of what is moved: short enough that VICReg's hinge, whose side is
# not held, is hardly ever passed.
DIRECTIONS = 8
HALF_STEP = 1e-6
# The program's outputs and gradients are sums of up to thousands of 32-bit products.
SUMS = 400 * U
# Most inputs of ReLUs that may lie within rounding of their kinks, and the largest part of a gradient that may depend on their sides.
MAX_DOUBTFUL = 64
MAX_DOUBT = 0.01


# Objectives: mean losses of outputs f and g of the two views, [B, m]


def field(fields, key, default):
    """A number among the fields of a choice, or its default."""
    return number(fields, key) if key in fields else default


def off_diagonal(matrix):
    """The matrix with a diagonal of zeros."""
    return matrix - np.diag(np.diagonal(matrix))


def log_sum_exp(rows):
    """log Σ exp along rows."""
    largest = rows.max(1)
    return largest + np.log(np.exp(rows - largest[:, None]).sum(1))


def softmax_of_cosines(f, g, temperature, decoupled=False, repulsion=1.0):
    """NT-Xent, or its decoupled form, in which the positive is not among those it is compared with; with a weight on what repels."""
    views, partners = unit(np.concatenate([f, g])), unit(np.concatenate([g, f]))
    logits = views @ views.T / temperature
    np.fill_diagonal(logits, -np.inf)
    if decoupled:
        at = np.arange(len(views))
        logits[at, (at + len(f)) % len(views)] = -np.inf
    return (repulsion * log_sum_exp(logits) - (views * partners).sum(1) / temperature).mean()


def spectral(f, g):
    """−2 mean ⟨f_i, g_i⟩ + mean over i ≠ j of ⟨f_i, g_j⟩²."""
    products = f @ g.T
    n = len(f)
    return -2 * np.trace(products) / n + (off_diagonal(products) ** 2).sum() / (n * (n - 1))


def barlow_twins(f, g, weight, epsilon):
    """(1/m)[Σ (C_ii − 1)² + a Σ_{i≠j} C_ij²] of columns standardised over the batch."""
    f, g = ((v - v.mean(0)) / np.sqrt(v.var(0) + epsilon) for v in (f, g))
    c = f.T @ g / len(f)
    return (((np.diagonal(c) - 1) ** 2).sum() + weight * (off_diagonal(c) ** 2).sum()) / f.shape[1]


def vicreg(f, g, invariance, variance, covariance, epsilon):
    """Distance of the views, a hinge at deviation 1, squared covariances."""
    loss = invariance * ((f - g) ** 2).mean()
    for v in (f, g):
        loss += variance / 2 * np.maximum(1 - np.sqrt(v.var(0, ddof=1) + epsilon), 0).mean()
        loss += covariance / 2 * (off_diagonal(np.cov(v.T)) ** 2).sum() / f.shape[1]
    return loss


def alignment_uniformity(f, g, weight, exponent):
    """Squared distance of the views on the sphere, and how far samples are spread over it."""
    f, g = unit(f), unit(g)

    def spread(v):
        distances = ((v[:, None] - v[None]) ** 2).sum(2)
        n = len(v)
        return np.log((np.exp(-exponent * distances).sum() - n) / (n * (n - 1)))

    return ((f - g) ** 2).sum(1).mean() + weight * (spread(f) + spread(g)) / 2


def info_nce(f, keys, negatives, fields):
    """The query's own key against those of the queue."""
    temperature = number(fields, "temperature")
    (similarity, _), (scale, _) = (variant(fields, name) for name in ("similarity", "scale"))
    if similarity == "cosine":
        f, keys, negatives = unit(f), unit(keys), unit(negatives)
    positives = (f * keys).sum(1, keepdims=True)
    logits = np.concatenate([positives, f @ negatives.T], 1) / temperature
    repulsion = field(fields, "repulsion", 1.0)
    return (repulsion * log_sum_exp(logits) - logits[:, 0]).mean() * (temperature if scale == "temperature" else 1.0)


def of_two_views(kind, fields):
    """The objective as a function of the outputs."""
    if kind in ("nt_xent", "decoupled_nt_xent", "balanced_nt_xent"):
        temperature, repulsion = number(fields, "temperature"), field(fields, "repulsion", 1.0)
        return lambda f, g: softmax_of_cosines(f, g, temperature, kind == "decoupled_nt_xent", repulsion)
    if kind == "spectral":
        return spectral
    if kind == "barlow_twins":
        weight, epsilon = number(fields, "off_diagonal"), field(fields, "epsilon", 1e-4)
        return lambda f, g: barlow_twins(f, g, weight, epsilon)
    if kind == "vicreg":
        weights = [number(fields, key) for key in ("invariance", "variance", "covariance")]
        return lambda f, g: vicreg(f, g, *weights, field(fields, "epsilon", 1e-4))
    if kind == "alignment_uniformity":
        weight, exponent = number(fields, "uniformity"), field(fields, "exponent", 2.0)
        return lambda f, g: alignment_uniformity(f, g, weight, exponent)
    raise Unreadable(f"run.json: the objective {kind} is not covered")


# The model


def sides_of(x, weights, biases):
    """Where each of the two ReLUs passes its input on: booleans [2, B, m]."""
    inner = x @ weights.T
    return np.stack([inner > biases, -inner > biases])


def encode(x, weights, biases, sides=None):
    """relu(⟨w, x⟩ − b) − relu(−⟨w, x⟩ − b); on the sides of another state's kinks, where those are given."""
    above, below = sides_of(x, weights, biases) if sides is None else sides
    inner = x @ weights.T
    return above * (inner - biases) + below * (inner + biases)


class Step:
    """The loss of the step as a function of weights and of the predictor's matrix."""

    def __init__(self, spec, tensors):
        self.kind, self.fields = variant(spec, "objective")
        batch, d1 = tensors.shape("x_plus", 2)
        self.views = [tensors.get(name, batch, d1) for name in ("x_plus", "x_plus_plus")]
        m, _ = tensors.shape("weights_before", 2)
        self.weights, self.biases = tensors.get("weights_before", m, d1), tensors.get("biases_before", m)
        bias, _ = variant(spec, "model.encoder.symmetric_relu.bias")
        if bias not in ("zero", "scheduled"):
            raise Unreadable(f"run.json: thresholds {bias} are not covered")
        self.predictor = None
        self.is_off_diagonal = False
        if "predictor_before" in tensors:
            self.predictor = tensors.get("predictor_before", m, m)
            network, _ = variant(spec, "model.predictor.network")
            if network not in ("linear", "off_diagonal"):
                raise Unreadable(f"run.json: a predictor {network} is not covered")
            self.is_off_diagonal = network == "off_diagonal"
        self.queue = None
        if self.kind == "info_nce" and "queue_before" not in tensors:
            raise Unreadable("run.json: info_nce is covered with a queue (and without one by check_run.py)")
        if "queue_before" in tensors:
            if self.kind != "info_nce":
                raise Unreadable(f"run.json: a queue under {self.kind} is not covered")
            self.queue = tensors.get("queue_before", tensors.shape("queue_before", 2)[0], m)
        self.copy = None
        if "copy_weights_before" in tensors:
            self.copy = (tensors.get("copy_weights_before", m, d1), tensors.get("copy_biases_before", m))
        self.sides = [sides_of(x, self.weights, self.biases) for x in self.views]
        self.doubtful = self.near_kinks()

    def near_kinks(self):
        """Places in `sides` of ReLUs whose inputs are within the rounding of a sum of 32-bit products of 0."""
        found = []
        # The second view is embedded by the copy, or reconstructed, and not embedded here.
        is_first_alone = self.kind in ("info_nce", "masked_reconstruction")
        for view, x in enumerate(self.views[:1] if is_first_alone else self.views):
            inner, rounding = x @ self.weights.T, U * np.sqrt(x.shape[1]) * (np.abs(x) @ np.abs(self.weights).T)
            for relu, u in enumerate((inner - self.biases, -inner - self.biases)):
                # What is 0 for want of anything to add up is no rounding; thresholds of 0 make no kink.
                near = (np.abs(u) <= rounding) & (rounding > 0) & (self.biases != 0)
                found.extend((view, (relu, *at)) for at in zip(*np.nonzero(near)))
        return found

    def predict(self, f, matrix):
        """The predictor's outputs."""
        if matrix is None:
            return f
        return f + f @ off_diagonal(matrix).T if self.is_off_diagonal else f @ matrix.T

    def loss(self, weights, matrix):
        """The mean loss. What no gradient passes, and the sides of kinks, are held at the state before the step."""
        first, second = self.views
        f, g = (encode(x, weights, self.biases, sides) for x, sides in zip(self.views, self.sides))
        if self.kind == "masked_reconstruction":
            shown = number(self.fields, "scale") * (second != 0)
            return ((shown * (f @ weights) - second) ** 2).sum() / (2 * len(f))
        if self.kind == "info_nce":
            keys = encode(second, *self.copy)
            return info_nce(f, keys, self.queue, self.fields)
        if self.kind != "negative_cosine":
            return of_two_views(self.kind, self.fields)(f, g)
        epsilon = field(self.fields, "epsilon", 1e-4)
        stopped = self.fields.get("stop_gradient", True)
        if self.copy is not None:
            targets = [encode(x, *self.copy) for x in self.views]
        elif stopped:
            targets = [encode(x, self.weights, self.biases) for x in self.views]
        else:
            targets = [f, g]
        predictions = [self.predict(v, matrix) for v in (f, g)]
        cosines = [(unit(p, epsilon) * unit(t, epsilon)).sum(1).mean() for p, t in zip(predictions, targets[::-1])]
        return -sum(cosines) / 2


# Comparing


def check_gradient(table, name, gradient, factor, step, loss, at, rng):
    """Central differences of the loss, times a factor, along random directions and along the gradient."""
    length = np.linalg.norm(gradient)
    table.count(f"{name}: entries that are not finite", ~np.isfinite(gradient))
    for k in range(DIRECTIONS + 1):
        direction = gradient if k == DIRECTIONS else rng.standard_normal(gradient.shape)
        direction = direction / max(np.linalg.norm(direction), 1e-300)
        h = HALF_STEP * max(np.linalg.norm(at), 1e-3)

        def slope():
            return factor * (loss(at + h * direction) - loss(at - h * direction)) / (2 * h)

        expected, doubt = slope(), 0.0
        for view, place in step.doubtful[:MAX_DOUBTFUL]:
            step.sides[view][place] ^= True
            doubt += abs(slope() - expected)
            step.sides[view][place] ^= True
        found = float((gradient * direction).sum())
        # Roundings are independent of a random direction, and add up along the gradient itself.
        scale = 1 if k == DIRECTIONS else 12 / np.sqrt(gradient.size)
        label = "along itself" if k == DIRECTIONS else f"along direction {k + 1}"
        table.number(f"{name} {label}", found, expected, max(SUMS * length * scale, 1e-9) + doubt)
    # The last direction is that of the gradient.
    table.number(f"{name}: part that sides of kinks decide", doubt / max(length, 1e-300), 0, MAX_DOUBT)


def check_update(table, run, tensors, step, gradients, eta):
    """Weight decay, the predictor's own rate, the queue, and the momentum copy."""
    spec, gradient = look_up(run, "spec"), gradients[0]
    decay = number(spec, "optimization.optimizer.sgd.weight_decay")
    after = step.weights - eta * (gradient + decay * step.weights)
    size = np.abs(step.weights) + eta * np.abs(gradient)
    table.array("weights after the step", tensors.get("weights_after", *after.shape), after, 4 * U * size + 1e-12)
    if step.predictor is not None:
        config = look_up(spec, "model.predictor")
        rate = eta * float(config.get("learning_rate_factor", 1.0))
        own = config.get("weight_decay")
        change = gradients[1] + (decay if own is None else float(own)) * step.predictor
        matrix = step.predictor - rate * change
        size = np.abs(step.predictor) + rate * np.abs(change)
        table.array("predictor after the step", tensors.get("predictor_after", *matrix.shape), matrix, 4 * U * size + 1e-12)
    if step.queue is not None:
        batch = len(step.views[0])
        at = int(number(run, "step")) * batch % len(step.queue)
        expected = step.queue.copy()
        expected[at : at + batch] = encode(step.views[1], *step.copy)
        found = tensors.get("queue_after", *expected.shape)
        table.array("queue after the step", found, expected, SUMS * np.abs(expected).max() + 1e-12)
    if step.copy is not None:
        momentum = number(spec, "model.momentum_copy.momentum")
        for part, before in zip(("weights", "biases"), step.copy):
            followed = tensors.get(f"{part}_after", *before.shape)
            expected = momentum * before + (1 - momentum) * followed
            size = np.abs(before) + np.abs(followed)
            name = f"copy_{part}_after"
            table.array(name.replace("_", " "), tensors.get(name, *before.shape), expected, 4 * U * size + 1e-12)


def clip_factor(table, spec, step, gradients):
    """What the gradient has been multiplied by so as not to be longer than its bound; 1 without a bound."""
    bound = look_up(spec, "optimization").get("gradient_clip")
    length = np.sqrt(sum((g**2).sum() for g in gradients))
    if bound is None or length < float(bound) * (1 - 1e-5):
        return 1.0
    table.number("length of a clipped gradient", length, float(bound), float(bound) * SUMS)
    # Along the gradient, the loss falls by the length that it had.
    h = HALF_STEP * np.linalg.norm(step.weights)

    def moved(by):
        parts = [at + by * g / length for at, g in zip((step.weights, step.predictor), gradients)]
        return step.loss(parts[0], parts[1] if len(parts) > 1 else None)

    return float(bound) / max((moved(h) - moved(-h)) / (2 * h), float(bound))


def check(folder):
    """The table of everything that is compared."""
    run = read_json(folder / "run.json")
    spec = look_up(run, "spec")
    tensors = Tensors(folder / "step.safetensors")
    step = Step(spec, tensors)
    table = Table()
    loss = step.loss(step.weights, step.predictor)
    table.number("loss of the step", number(run, "loss"), loss, 60 * U * (1 + abs(loss)))
    eta = learning_rate(spec, int(number(run, "step")))
    table.number("learning rate", number(run, "eta"), eta, 1e-12)
    rng = np.random.default_rng(1)
    gradients = [tensors.get("gradient", *step.weights.shape)]
    if step.predictor is not None:
        gradients.append(tensors.get("predictor_gradient", *step.predictor.shape))
    factor = clip_factor(table, spec, step, gradients)
    table.number("inputs within rounding of a kink", len(step.doubtful), 0, MAX_DOUBTFUL)
    of_weights = lambda weights: step.loss(weights, step.predictor)  # noqa: E731
    check_gradient(table, "gradient of the weights", gradients[0], factor, step, of_weights, step.weights, rng)
    if step.predictor is not None:
        of_matrix = lambda matrix: step.loss(step.weights, matrix)  # noqa: E731
        check_gradient(table, "gradient of the predictor", gradients[1], factor, step, of_matrix, step.predictor, rng)
    check_update(table, run, tensors, step, gradients, eta)
    before = lambda x: encode(x, step.weights, step.biases)  # noqa: E731
    check_snapshot(table, run, tensors, before, step.weights.shape[1], gradients, factor)
    return table


if __name__ == "__main__":
    sys.exit(print_check("check_objective.py", check, sys.argv[1:]))
