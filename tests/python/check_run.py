"""Recomputes what a run reports, from the definitions alone.

    python check_run.py FOLDER

FOLDER holds `run.json`, `step.safetensors` and `end.safetensors`. Everything is computed again in double precision with
numpy, the probes with scikit-learn; nothing of the program under test is used. Exit status: 0 when all numbers agree, 1
when one does not, 2 when a file is missing or damaged or the run is of a kind that is not covered.

Covered: InfoNCE with inner products, stopped keys and fresh negatives, without normalisation and projector, by plain
gradient descent; any masks or none, any thresholds, any learning rate.

Tolerances follow from the program's 32-bit floats. One rounding is a relative error of at most U = 2^-24; what many
independent ones do to a sum of products is bounded by `dot_error`. Errors of independent terms are added in squares,
errors that may share a cause in absolute value. What the program computes in double precision from the very numbers in
the files must agree to EXACT.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

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
from signals import check_snapshot  # noqa: E402

ROUNDINGS = 2.0

MEMBERSHIP_FRACTION = 0.25
SINGLETON_COSINE = 0.9
ORACLE_THRESHOLDS = np.arange(10) / 10

# Two solvers that both stop near the minimum: a thousandth of R², and four test rows close to the boundary.
R_SQUARED_TOLERANCE = 1e-3
ROWS_NEAR_BOUNDARY = 4
# Sampling errors are allowed six standard deviations.
DEVIATIONS = 6.0


# What is covered

DATA = "data.sparse_coding"
ENCODER = "model.encoder.symmetric_relu"
OBJECTIVE = "objective.info_nce"
OPTIMIZER = "optimization.optimizer.sgd"


def probability(value, path):
    """A number in (0, 1] in nested JSON objects."""
    found = number(value, path)
    if not 0 < found <= 1:
        raise Unreadable(f"run.json: {path} = {found} is outside (0, 1]")
    return found


def require(spec, path, wanted):
    """Refuses a run whose specification differs from what is covered."""
    found, _ = variant(spec, path)
    if found != wanted:
        raise Unreadable(f"run.json: {path} is {found}; only {wanted} is covered")


def require_absent(spec, path, covered):
    """Refuses a run whose specification has a part that is not covered."""
    section, _, key = path.rpartition(".")
    found = look_up(spec, section)
    if isinstance(found, dict) and found.get(key) is not None:
        raise Unreadable(f"run.json: {path} is given; only {covered} are covered")


@dataclass
class Sizes:
    """d, d1, m, B, N."""

    d: int
    d1: int
    m: int
    batch: int
    negatives: int


def covered_sizes(spec):
    """The sizes of a run, after a check that its kind is covered."""
    require(spec, "data", "sparse_coding")
    require(spec, f"{DATA}.negatives", "fresh")
    require_absent(spec, f"{DATA}.training_set_size", "fresh observations")
    require(spec, "model.encoder", "symmetric_relu")
    require(spec, f"{ENCODER}.normalization", "none")
    require_absent(spec, "model.projector", "embeddings without a projector")
    require_absent(spec, "model.predictor", "embeddings without a predictor")
    require_absent(spec, "optimization.gradient_clip", "gradients of any length")
    require(spec, "objective", "info_nce")
    require(spec, f"{OBJECTIVE}.similarity", "inner_product")
    require(spec, f"{OBJECTIVE}.key_gradient", "stopped")
    require_absent(spec, f"{OBJECTIVE}.repulsion", "losses that weigh attraction and repulsion alike")
    require(spec, "optimization.optimizer", "sgd")
    if number(spec, f"{OPTIMIZER}.momentum") != 0 or look_up(spec, f"{OPTIMIZER}.nesterov") is not False:
        raise Unreadable(f"run.json: {OPTIMIZER} has momentum; only plain gradient descent is covered")
    paths = (f"{DATA}.code_dim", f"{DATA}.input_dim", f"{ENCODER}.num_neurons", "optimization.batch_size")
    sizes = [number(spec, path) for path in (*paths, f"{DATA}.negatives.fresh.count")]
    if any(size < 1 or size != int(size) for size in sizes):
        raise Unreadable("run.json: a size in the specification is not a positive whole number")
    return Sizes(*map(int, sizes))


# Rounding


def dot_error(a, b):
    """What rounding may do to `a @ b.T` in 32-bit floats.

    Each of k additions rounds a partial sum, by U/sqrt(3) of it in the mean square. Partial sums grow in proportion to
    the result S and wander by the root R of the sum of squared products, so that the standard deviation of all
    roundings is sqrt(k) U (S/3 + R/sqrt(6)) at most. ROUNDINGS = 2 times sqrt(k) U (S + R) is about five of them or
    more; sums taken in blocks, as fast products do, stay well below.
    """
    size = np.abs(a @ b.T) + np.sqrt((a * a) @ (b * b).T)
    return ROUNDINGS * U * math.sqrt(a.shape[1]) * size


# The data


def check_dictionary(table, dictionary):
    """MᵀM = 1."""
    # Entries are rounded once: 2U for a sum of |M_rj M_rk|, which is at most 1; another 2U for the rest.
    gram = dictionary.T @ dictionary
    table.array("columns of M orthonormal", gram, np.eye(gram.shape[0]), 4 * U)


def check_observations(table, name, dictionary, z, xi, x):
    """x = M z + ξ with z in {-1, 0, 1}."""
    # Each of at most 1 + (number of entries of z) additions rounds a partial sum.
    terms = 2 + np.count_nonzero(z, axis=1, keepdims=True)
    bound = U * terms * (np.abs(z) @ np.abs(dictionary).T + np.abs(xi))
    table.array(f"{name} = M z + xi", x, z @ dictionary.T + xi, bound)
    check_code(table, f"z of {name}", z)


def check_code(table, name, z):
    """z in {-1, 0, 1}."""
    table.count(f"{name}: entries other than -1, 0, 1", ~np.isin(z, (-1.0, 0.0, 1.0)))


def survivor_factor(rescaling, probability):
    """What a coordinate that survives its mask is multiplied by, as a 32-bit float."""
    if rescaling not in ("unbiased", "off"):
        raise Unreadable(f"run.json: a rescaling {rescaling} is not known")
    return float(np.float32(1 / probability)) if rescaling == "unbiased" else 1.0


def transform_of_views(spec):
    """Name and fields of what makes two views of an observation; none where both are the observation itself."""
    transforms = look_up(spec, "views.transform")
    if not isinstance(transforms, list) or len(transforms) > 1:
        raise Unreadable("run.json: views.transform is not a list of one transform at most")
    return variant({"transform": transforms[0]}, "transform") if transforms else (None, {})


def check_views(table, spec, step, sizes):
    """The masks are such as the transform makes, and the views are the masked observations."""
    shape = (sizes.batch, sizes.d1)
    x, first, second = (step.get(name, *shape) for name in ("x", "x_plus", "x_plus_plus"))
    kind, fields = transform_of_views(spec)
    if kind is None:
        table.array("x_plus = x", first, x, 0.0)
        table.array("x_plus_plus = x", second, x, 0.0)
        return
    if kind not in ("complementary_mask", "independent_masks"):
        raise Unreadable(f"run.json: a transform {kind} is not covered")
    p, s = probability(fields, "keep_probability"), number(fields, "masked_fraction")
    factor = survivor_factor(look_up(fields, "rescaling"), p)
    masks = [step.get(name, *shape) for name in ("mask_plus", "mask_plus_plus")]
    for mask, name in zip(masks, ("mask_plus", "mask_plus_plus")):
        table.count(f"{name}: entries other than 0, 1", (mask != 0) & (mask != 1))
    if kind == "complementary_mask":
        if p == 1.0:
            raise Unreadable("run.json: keep_probability = 1 leaves nothing to the other view")
        factors = (factor, survivor_factor(look_up(fields, "rescaling"), 1 - p))
        check_complementary(table, x, (first, second), masks, factors, (p, 1 - p), s)
    else:
        for view, mask, name in zip((first, second), masks, ("plus", "plus_plus")):
            check_independent(table, name, x, view, mask, factor, (p, s))


def check_complementary(table, x, views, masks, factors, probabilities, fraction):
    """A coordinate is in one view, rescaled, or in the other, or, outside the masked fraction, in both as it is."""
    table.count("coordinates in neither view", (masks[0] == 0) & (masks[1] == 0))
    both = (masks[0] == 1) & (masks[1] == 1)
    if fraction == 1.0:
        table.count("coordinates in both views", both)
    else:
        check_fraction(table, "fraction of coordinates in both views", both, 1 - fraction)
    for view, mask, factor, p, name in zip(views, masks, factors, probabilities, ("plus", "plus_plus")):
        check_fraction(table, f"fraction of mask_{name}", mask, fraction * p + 1 - fraction)
        check_view(table, name, view, mask * np.where(both, 1.0, factor) * x)


def check_independent(table, name, x, view, mask, factor, probabilities):
    """A coordinate is in the view, rescaled where it is subject to the mask, or it is not."""
    p, fraction = probabilities
    check_fraction(table, f"fraction of mask_{name}", mask, fraction * p + 1 - fraction)
    # The mask alone does not say whether a coordinate that is kept was subject to it: the nearer of the two counts.
    may_stay, may_be_rescaled = fraction < 1.0, fraction > 0.0
    rescaled = may_be_rescaled and (~np.bool_(may_stay) | (np.abs(view - factor * x) < np.abs(view - x)))
    check_view(table, name, view, mask * np.where(rescaled, factor, 1.0) * x)


def check_view(table, name, view, expected):
    """A view, entry by entry: one product, rounded."""
    table.array(f"x_{name} = mask, rescaling, x", view, expected, 2 * U * np.abs(expected))


def check_fraction(table, name, mask, probability):
    """The fraction of ones among independent draws of a known probability."""
    deviation = math.sqrt(max(probability * (1 - probability), 0.0) / mask.size)
    table.number(name, float(np.mean(mask)), probability, DEVIATIONS * deviation + EXACT)


# The encoder


def symmetric_relu(u, b):
    """relu(u − b) − relu(−u − b)."""
    return np.maximum(u - b, 0.0) - np.maximum(-u - b, 0.0)


def slope(u, b):
    """The derivative of `symmetric_relu` in u."""
    return (u > b).astype(float) + (-u > b)


def slope_in_threshold(u, b):
    """The derivative of `symmetric_relu` in b."""
    return (-u > b).astype(float) - (u > b)


@dataclass
class Embedding:
    """f(x) with what rounding may make of it."""

    f: np.ndarray
    low: np.ndarray
    high: np.ndarray
    u: np.ndarray
    u_error: np.ndarray

    @property
    def error(self):
        """A bound of the error of f; f does not fall in u, so that its ends lie at the ends of u."""
        return np.maximum(self.high - self.f, self.f - self.low)

    @property
    def surely_active(self):
        """Entries that are not 0 whatever rounding does."""
        return (self.low > 0) | (self.high < 0)

    @property
    def maybe_active(self):
        """Entries that are not 0 for some rounding."""
        return (self.low != 0) | (self.high != 0)


def embed(weights, biases, x):
    """f(x) = relu(W x − b) − relu(−W x − b)."""
    u = x @ weights.T
    # Two more roundings where the threshold is taken off.
    e = dot_error(x, weights) + 2 * U * (np.abs(u) + np.abs(biases))
    return Embedding(symmetric_relu(u, biases), symmetric_relu(u - e, biases), symmetric_relu(u + e, biases), u, e)


# The step


@dataclass
class Contrast:
    """The loss and its gradient in the queries, with bounds of their errors."""

    loss: float
    loss_error: float
    gradient: np.ndarray
    gradient_error: np.ndarray


def contrast(query, key, negative, temperature, factor):
    """−factor · mean log softmax of the positive among positive and negatives, keys held fixed."""
    batch, count = query.f.shape[0], negative.f.shape[0]
    logits = np.concatenate([(query.f * key.f).sum(1, keepdims=True), query.f @ negative.f.T], 1) / temperature
    shift = logits.max(1, keepdims=True)
    p = np.exp(logits - shift)
    partition = p.sum(1, keepdims=True)
    p /= partition
    log_partition = np.log(partition) + shift
    loss = factor * float(np.mean(log_partition - logits[:, :1]))

    l_error = logit_errors(query, key, negative, temperature)
    # Exponential, logarithm and their sum, in units of U.
    softmax = U * (2 + 2 * np.abs(logits) + np.abs(shift)) + ROUNDINGS * U * math.sqrt(count + 1)
    loss_error = factor * float(np.mean((p * (l_error + softmax)).sum(1) + l_error[:, 0]))
    loss_error += factor * 4 * U * float(np.mean(np.abs(log_partition)) + np.mean(np.abs(logits[:, 0])))

    scale = factor / (temperature * batch)
    keys_mean = p[:, :1] * key.f + p[:, 1:] @ negative.f
    # The softmax weights first (they share the query's error, hence absolute values), then keys, then the sum.
    p_error = p * (l_error + (p * l_error).sum(1, keepdims=True) + softmax)
    from_weights = p_error[:, :1] * np.abs(key.f) + p_error[:, 1:] @ np.abs(negative.f)
    from_keys = key.error + np.sqrt((p[:, 1:] ** 2) @ negative.error**2)
    summed = dot_error(p[:, 1:], negative.f.T) + 4 * U * (np.abs(key.f) + np.abs(keys_mean))
    error = scale * (from_weights + from_keys + summed)
    return Contrast(loss, loss_error, scale * (keys_mean - key.f), error)


def logit_errors(query, key, negative, temperature):
    """What errors of both embeddings and of their inner product do to the logits; positives in the first column."""
    q, dq = query.f, query.error
    positive = np.sqrt(((dq * key.f) ** 2 + (q * key.error) ** 2).sum(1, keepdims=True))
    products = q * key.f
    sizes = np.abs(products.sum(1, keepdims=True)) + np.sqrt((products**2).sum(1, keepdims=True))
    positive = positive + ROUNDINGS * U * math.sqrt(q.shape[1]) * sizes
    others = np.sqrt((dq**2) @ (negative.f**2).T + (q**2) @ (negative.error**2).T) + dot_error(q, negative.f)
    return np.concatenate([positive, others], 1) / temperature


def back_through_encoder(found, query, biases, x, derivative):
    """The gradient in what multiplies x (or in thresholds, for x of ones), with a bound of its error."""
    g, e = found.gradient, found.gradient_error
    d = derivative(query.u, biases)
    # Where u is within rounding of a threshold the derivative may have either value.
    jumps = [np.abs(derivative(query.u + sign * query.u_error, biases) - d) for sign in (-1, 1)]
    error = e * np.abs(d) + (np.abs(g) + e) * np.maximum(*jumps)
    gd = g * d
    bound = np.sqrt((error.T**2) @ (x**2)) + dot_error(gd.T, x.T)
    return gd.T @ x, bound


def check_step(table, run, step, sizes):
    """Loss, gradient, update and thresholds of one step."""
    spec = run["spec"]
    w, w_after = (step.get(f"weights_{when}", sizes.m, sizes.d1) for when in ("before", "after"))
    b, b_after = (step.get(f"biases_{when}", sizes.m) for when in ("before", "after"))
    gradient = step.get("gradient", sizes.m, sizes.d1)
    x_plus = step.get("x_plus", sizes.batch, sizes.d1)
    query = embed(w, b, x_plus)
    key = embed(w, b, step.get("x_plus_plus", sizes.batch, sizes.d1))
    negative = embed(w, b, step.get("negatives", sizes.negatives, sizes.d1))
    temperature = number(spec, f"{OBJECTIVE}.temperature")
    scale, _ = variant(spec, f"{OBJECTIVE}.scale")
    if scale not in ("temperature", "one"):
        raise Unreadable(f"run.json: a scale {scale} of the loss is not covered")
    found = contrast(query, key, negative, temperature, temperature if scale == "temperature" else 1.0)
    table.number("loss", number(run, "loss"), found.loss, found.loss_error)

    recomputed, bound = back_through_encoder(found, query, b, x_plus, slope)
    table.array("gradient, worst entry", gradient, recomputed, bound)
    distance = float(np.linalg.norm(gradient - recomputed))
    norms = (float(np.linalg.norm(gradient)), float(np.linalg.norm(recomputed)))
    table.rows.append(Row("gradient, norm and distance", *norms, distance, float(np.linalg.norm(bound))))

    eta = number(run, "eta")
    expected_eta = learning_rate(spec, number(run, "step"))
    table.number("eta", eta, expected_eta, EXACT * expected_eta)
    decay = number(spec, f"{OPTIMIZER}.weight_decay")
    # Six roundings at most: eta, lambda, two products, a sum, a difference.
    bound = 6 * U * (np.abs(w) + eta * (np.abs(gradient) + decay * np.abs(w)))
    table.array("weights after = update of weights before", w_after, w - eta * (gradient + decay * w), bound)
    db = back_through_encoder(found, query, b, np.ones((sizes.batch, 1)), slope_in_threshold)
    db = [part[:, 0] for part in db]
    check_thresholds(table, run, (w, w_after), (b, b_after), db)
    is_trained = variant(spec, f"{ENCODER}.bias")[0] == "trained"
    gradients = [recomputed, db[0]] if is_trained else [recomputed]
    check_snapshot(table, run, step, lambda x: embed(w, b, x).f, sizes.d1, gradients)


def check_thresholds(table, run, weights, biases, bias_gradient):
    """The thresholds after the step."""
    before, after = biases
    spec, t, d = run["spec"], number(run, "step"), number(run["spec"], f"{DATA}.code_dim")
    kind, rule = variant(spec, f"{ENCODER}.bias")
    name = f"thresholds after ({kind})"
    if kind == "trained":
        eta, (gradient, error) = number(run, "eta"), bias_gradient
        bound = eta * error + 4 * U * (np.abs(before) + eta * np.abs(gradient))
        table.array(name, after, before - eta * gradient, bound)
    elif kind == "zero" or kind == "scheduled" and t < number(rule, "start_step"):
        table.array("thresholds before", before, np.zeros_like(before), 0.0)
        table.array(name, after, np.zeros_like(after), 0.0)
    elif kind == "scheduled":
        table.array(name, after, *scheduled_thresholds(rule, t, d, weights, before))
    else:
        raise Unreadable(f"run.json: thresholds {kind} are not covered")


def scheduled_thresholds(rule, t, d, weights, b):
    """Thresholds after step t >= T1 by the rule of the paper, with bounds of their errors."""
    start, c, growth, cap_ratio = (number(rule, k) for k in ("start_step", "initial_ratio", "growth", "cap_ratio"))
    before, after = (np.linalg.norm(w, axis=1) for w in weights)
    unit = math.sqrt(math.log(d) / d)
    # A norm sums d1 squares that all have one sign; up to three norms come in, and a few products.
    relative = 3 * ROUNDINGS * U * math.sqrt(weights[0].shape[1]) + 8 * U
    if t == start:
        expected = c * unit * after
        return expected, relative * expected
    kept = b * np.divide(after, before, out=np.ones_like(after), where=before > 0)
    cap = cap_ratio * unit * after
    grown = np.minimum(np.maximum(b * (1 + growth / d), kept), cap)
    expected = np.where(b < cap, grown, kept)
    # A threshold that is within rounding of its cap may count as below it or not.
    at_cap = np.abs(b - cap) <= relative * cap
    return expected, relative * np.abs(expected) + np.where(at_cap, np.abs(grown - kept), 0.0)


# The measures


def check_features(table, reported, weights, dictionary):
    """Energy in span(M), coverage, singletons: double precision in the program, too."""
    measures = feature_measures(weights, dictionary)
    for name, value in measures.items():
        path = f"features.{name}"
        if np.ndim(value) == 0:
            table.number(name, number(reported, path), value, EXACT)
        else:
            table.array(name, numbers(reported, path, len(value)), value, 0.0)
    largest = math.sqrt(dictionary.shape[0]) * float(np.abs(dictionary).max())
    table.number("incoherence", number(reported, "incoherence"), largest, EXACT * largest)

    # The program's draws of random weights are its own: eight of them, against sixteen here.
    rng = np.random.default_rng(0)
    draws = [coverage(rng.standard_normal(weights.shape), dictionary).mean() for _ in range(16)]
    chance = number(reported, "chance_coverage")
    deviation = float(np.std(draws, ddof=1)) * math.sqrt(1 / 8 + 1 / 16)
    table.number("chance_coverage", chance, float(np.mean(draws)), DEVIATIONS * deviation)
    corrected = (measures["coverage_mean"] - chance) / (1 - chance)
    table.number("coverage_corrected", number(reported, "coverage_corrected"), corrected, EXACT)


def cosines(weights, dictionary):
    """|cos(w_i, M_j)|, [m, d]; 0 for a neuron without weights."""
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    alpha = np.abs(weights @ dictionary)
    return np.divide(alpha, norms, out=np.zeros_like(alpha), where=norms > 0)


def coverage(weights, dictionary):
    """max_i |cos(w_i, M_j)|, [d]."""
    return cosines(weights, dictionary).max(0)


def feature_measures(weights, dictionary):
    """The measures of a layer, by their names in the report."""
    cos = cosines(weights, dictionary)
    covered, uses = cos.max(0), cos >= MEMBERSHIP_FRACTION
    used = uses.sum(1)
    singleton = (used == 1) & (cos.max(1) >= SINGLETON_COSINE)
    return {
        "energy_in_span": float((cos**2).sum(1).mean()),
        "coverage_mean": float(covered.mean()),
        "coverage_min": float(covered.min()),
        "coverage_median": float(np.median(covered)),
        "coverage_max": float(covered.max()),
        "features_with_singleton": float((uses & singleton[:, None]).any(0).sum()),
        "singleton_fraction": float(singleton.mean()),
        "membership_histogram": np.bincount(used, minlength=cos.shape[1] + 1).astype(float),
        "neurons_per_feature": uses.sum(0).astype(float),
    }


def check_embeddings(table, reported, encoder, dictionary, observations):
    """Correlations of f(x) with f(Mz) and f(ξ), and the fraction of active neurons."""
    x, xi, z = observations
    # Mz adds up the few features of z; its rounding is well within that of the inner products.
    f_x, f_mz, f_xi = (embed(*encoder, v) for v in (x, z @ dictionary.T, xi))
    has_feature = (z != 0).any(1)
    measures = {
        "correlation_sparse": mean_cosine(f_x, f_mz, has_feature),
        "correlation_sparse_defined": share_defined(f_x, f_mz, has_feature),
        "correlation_dense": pooled_correlation(f_x, f_xi),
        "correlation_dense_defined": share_defined(f_x, f_xi, np.ones(len(x), bool)),
        "active_fraction": (np.mean(f_x.f != 0), np.mean(f_x.maybe_active & ~f_x.surely_active)),
    }
    for name, (value, tolerance) in measures.items():
        table.number(name, number(reported, f"embeddings.{name}"), float(value), float(tolerance) + EXACT)


def mean_cosine(a, b, rows):
    """Mean cosine over rows; a row in which either vector is 0 counts as 0. With a bound of the error."""
    if not rows.any():
        return 0.0, 0.0
    norms = [np.linalg.norm(e.f[rows], axis=1) for e in (a, b)]
    errors = [np.linalg.norm(e.error[rows], axis=1) for e in (a, b)]
    lengths, products = norms[0] * norms[1], (a.f[rows] * b.f[rows]).sum(1)
    cosine = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    # An error e of a vector v moves its direction by at most 2 e/|v|, and a cosine by no more than 2.
    turns = [np.divide(2 * e, n, out=np.where(e > 0, 2.0, 0.0), where=n > 0) for e, n in zip(errors, norms)]
    return cosine.mean(), np.minimum(turns[0] + turns[1], 2.0).mean()


def share_defined(a, b, rows):
    """Fraction of rows in which both vectors are not 0, with a bound of the error."""
    if not rows.any():
        return 0.0, 0.0

    def defined(active):
        return np.mean(active(a)[rows].any(1) & active(b)[rows].any(1))

    value = defined(lambda e: e.f != 0)
    most, least = defined(lambda e: e.maybe_active), defined(lambda e: e.surely_active)
    return value, max(most - value, value - least)


def pooled_correlation(a, b):
    """Σ⟨a, b⟩ / √(Σ|a|² Σ|b|²) over all rows, with a bound of the error."""
    norms = [float(np.linalg.norm(e.f)) for e in (a, b)]
    errors = [float(np.linalg.norm(e.error)) for e in (a, b)]
    if min(norms) == 0:
        return 0.0, 2.0 if any(n == 0 < e for n, e in zip(norms, errors)) else 0.0
    # The cosine of two long vectors: see above.
    turn = 2 * errors[0] / norms[0] + 2 * errors[1] / norms[1]
    return float((a.f * b.f).sum()) / (norms[0] * norms[1]), min(turn, 2.0)


# The probes


@dataclass
class Task:
    """Observations, the targets <w*, z>, and where z is not 0."""

    x: np.ndarray
    y: np.ndarray
    has_feature: np.ndarray


def ridge_score(train, y, test, y_test, penalty):
    """R² on test rows of the minimiser of the mean squared error + penalty · |β|² on standardised features."""
    train, test = standardised(train, test)
    # scikit-learn adds up squared errors instead of averaging them.
    return Ridge(alpha=penalty * len(train), solver="cholesky").fit(train, y).score(test, y_test)


def ridge_r_squared(train, y, test, y_test):
    """R² on test rows, with the penalty that does best on the last quarter of the training rows."""
    fit = len(train) - int(len(train) * VALIDATION_FRACTION)
    scores = [ridge_score(train[:fit], y[:fit], train[fit:], y[fit:], penalty) for penalty in RIDGE_PENALTIES]
    return ridge_score(train, y, test, y_test, RIDGE_PENALTIES[int(np.argmax(scores))])


def logistic_accuracy(train, label, test, label_test):
    """Accuracy of logistic regression with the penalty |β|²/2 on the summed loss, on standardised features."""
    if label.all() or not label.any():
        return float(np.mean(label_test == label[0]))
    train, test = standardised(train, test)
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8, max_iter=1000)
    return float(model.fit(train, label).score(test, label_test))


def check_probe(table, name, reported, train, test, represent):
    """R² of the target and accuracy of its sign, on one representation."""
    f_train, f_test = represent(train.x), represent(test.x)
    r_squared = ridge_r_squared(f_train, train.y, f_test, test.y)
    path = name.replace(" ", ".")
    table.number(f"{name}: R²", number(reported, f"{path}.r_squared"), r_squared, R_SQUARED_TOLERANCE)
    rows, rows_test = train.has_feature, test.has_feature
    if not rows.any() or not rows_test.any():
        raise Unreadable("end.safetensors: the probe has no observation with z ≠ 0")
    accuracy = logistic_accuracy(f_train[rows], train.y[rows] > 0, f_test[rows_test], test.y[rows_test] > 0)
    tolerance = ROWS_NEAR_BOUNDARY / rows_test.sum() + EXACT
    table.number(f"{name}: accuracy", number(reported, f"{path}.accuracy"), accuracy, tolerance)


def check_probes(table, spec, reported, end, encoder, dictionary):
    """The probe on f(x) and, where there are any, on the baselines."""
    (d1, d), m = dictionary.shape, encoder[0].shape[0]
    target = end.get("target", d)
    tasks = []
    for part in ("train", "test"):
        rows, _ = end.shape(f"probe_{part}_z", 2)
        if rows < 8:
            raise Unreadable("end.safetensors: a probe needs at least 8 rows")
        z = end.get(f"probe_{part}_z", rows, d)
        check_code(table, f"z of probe_{part}", z)
        tasks.append(Task(end.get(f"probe_{part}_x", rows, d1), z @ target, (z != 0).any(1)))
    check_probe(table, "probe", reported, *tasks, lambda x: embed(*encoder, x).f)
    if look_up(reported, "baselines") is None:
        return
    threshold = number(reported, "baselines.oracle_threshold")
    nearest = float(ORACLE_THRESHOLDS[np.argmin(np.abs(ORACLE_THRESHOLDS - threshold))])
    table.number("baselines oracle_threshold: one of those tried", threshold, nearest, EXACT)
    oracle = (dictionary.T, np.full(d, float(np.float32(threshold))))
    untrained = (end.get("initial_weights", m, d1), np.full(m, initial_threshold(spec)))
    check_probe(table, "baselines input", reported, *tasks, lambda x: x)
    check_probe(table, "baselines oracle", reported, *tasks, lambda x: embed(*oracle, x).f)
    check_probe(table, "baselines untrained", reported, *tasks, lambda x: embed(*untrained, x).f)


def initial_threshold(spec):
    """Thresholds before training."""
    kind, fields = variant(spec, f"{ENCODER}.bias")
    return float(np.float32(number(fields, "initial"))) if kind == "trained" else 0.0


# All of it


def check(folder):
    """Compares everything in a folder."""
    run = read_json(folder / "run.json")
    spec, reported = look_up(run, "spec"), look_up(run, "evaluation")
    sizes = covered_sizes(spec)
    step, end = Tensors(folder / "step.safetensors"), Tensors(folder / "end.safetensors")
    table = Table()
    dictionary = step.get("dictionary", sizes.d1, sizes.d)
    check_dictionary(table, dictionary)
    table.array("dictionary of the step and of the end", end.get("dictionary", sizes.d1, sizes.d), dictionary, 0.0)
    for x, z, xi, count in (("x", "z", "xi", sizes.batch), ("negatives", "negative_z", "negative_xi", sizes.negatives)):
        parts = (step.get(z, count, sizes.d), step.get(xi, count, sizes.d1), step.get(x, count, sizes.d1))
        check_observations(table, x, dictionary, *parts)
    check_views(table, spec, step, sizes)
    check_step(table, run, step, sizes)

    rows, _ = end.shape("evaluation_z", 2)
    if rows == 0:
        raise Unreadable("end.safetensors: there are no evaluation rows")
    x, xi = (end.get(name, rows, sizes.d1) for name in ("evaluation_x", "evaluation_xi"))
    z = end.get("evaluation_z", rows, sizes.d)
    check_observations(table, "evaluation_x", dictionary, z, xi, x)
    encoder = (end.get("weights", sizes.m, sizes.d1), end.get("biases", sizes.m))
    check_features(table, reported, encoder[0], dictionary)
    check_embeddings(table, reported, encoder, dictionary, (x, xi, z))
    check_probes(table, spec, reported, end, encoder, dictionary)
    return table


def main(arguments):
    """Prints the table; the exit status."""
    return print_check("check_run.py", check, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
