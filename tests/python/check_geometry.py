#!/usr/bin/env python3
"""Recomputes a run on signals on a circle with numpy: the signals and their tangents from the formula, features and outputs from the weights, and
every number of evaluation.json from those.

    python tests/python/check_geometry.py FOLDER    # a complete run of experiments/projector-geometry

The folder holds spec.json, evaluation.json, model.safetensors and geometry.safetensors. Derivatives are exact here, linear piece by linear piece; the
program takes differences. Encoders other than multi-layer perceptrons and projectors with normalisation are not covered.
"""

import sys

import numpy as np

from reading import EXACT, Table, Tensors, U, Unreadable, look_up, number, print_check, read_json
from signals import effective_rank, view_distance

# Features are sums of hundreds of 32-bit products.
OUTPUTS = 200 * U
# Differences of outputs over 1/128 of the length of a point, some of which cross the edge of a linear piece.
GAINS = 0.03
# Penalty and width are chosen on validation rows, where two of them may be as good as each other.
DECODED = 0.001
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
SQUARED_WIDTHS = (0.1, 0.3, 1.0)
VALIDATION_FRACTION = 0.25


class World:
    """Signals by the formula: sums of a cos f(t − θ) + b sin f(t − θ)."""

    def __init__(self, spec, tensors):
        sizes = look_up(spec, "data.circular_signals")
        self.samples, self.frequencies = int(sizes["input_dim"]), int(sizes["frequencies"])
        self.code_dim, self.noise_std = int(sizes["code_dim"]), float(sizes["noise_std"])
        self.mean = tensors.get("mean_coefficients", 1, 2 * self.frequencies)[0]
        self.directions = tensors.get("coefficient_directions", self.code_dim, 2 * self.frequencies)

    def waves(self, phases):
        """cos f(t − θ) and sin f(t − θ), [n, samples, frequencies] each."""
        times = 2 * np.pi * np.arange(self.samples) / self.samples
        angles = (times[None, :, None] - np.reshape(phases, (-1, 1, 1))) * np.arange(1, self.frequencies + 1)
        return np.cos(angles), np.sin(angles)

    def along(self, coefficients, phases):
        """The signals of coefficients [n, 2F] at phases."""
        cosines, sines = self.waves(phases)
        return np.einsum("ntf,nf->nt", cosines, coefficients[:, 0::2]) + np.einsum("ntf,nf->nt", sines, coefficients[:, 1::2])

    def phase_tangents(self, coefficients, phases):
        """Their derivatives in the phase."""
        cosines, sines = self.waves(phases)
        f = np.arange(1, self.frequencies + 1)
        return np.einsum("ntf,nf->nt", sines, f * coefficients[:, 0::2]) - np.einsum("ntf,nf->nt", cosines, f * coefficients[:, 1::2])


class Network:
    """Linear layers, each followed by a ReLU or not."""

    def __init__(self, tensors, names, last_relu):
        self.layers = []
        for name in names:
            weight = tensors.get(f"{name}.weight", *tensors.shape(f"{name}.weight", 2))
            self.layers.append((weight, tensors.get(f"{name}.bias", weight.shape[1])))
        self.has_relu = [True] * (len(names) - 1) + [last_relu]

    def forward(self, x, tangents=()):
        """Outputs, and what becomes of tangents at x."""
        for (weight, bias), relu in zip(self.layers, self.has_relu):
            x, tangents = x @ weight + bias, [u @ weight for u in tangents]
            if relu:
                alive = x > 0
                x, tangents = x * alive, [u * alive for u in tangents]
        return x, tangents


def mean_squared_gain(directions, derivatives):
    """Mean of ‖J u‖²/‖u‖²."""
    lengths = (directions * directions).sum(1)
    kept = lengths > 0
    return float(((derivatives * derivatives).sum(1)[kept] / lengths[kept]).mean())


def r_squared(predicted, truth):
    """Over all coordinates of the targets together."""
    return 1 - float(((predicted - truth) ** 2).sum()) / float(((truth - truth.mean(0)) ** 2).sum())


def decoded(train, y_train, test, y_test, gaussian):
    """R² of kernel ridge regression, with penalty and width chosen on the last quarter of the training rows."""
    fitted = len(train) - int(len(train) * VALIDATION_FRACTION)
    widths = SQUARED_WIDTHS if gaussian else (None,)
    scored = []
    for width in widths:
        for penalty in PENALTIES:
            predicted = kernel_ridge(train[:fitted], y_train[:fitted], train[fitted:], width, penalty)
            scored.append((r_squared(predicted, y_train[fitted:]), -len(scored), width, penalty))
    _, _, width, penalty = max(scored)
    return r_squared(kernel_ridge(train, y_train, test, width, penalty), y_test)


def kernel_ridge(train, y, test, width, penalty):
    """What is predicted for test rows."""
    mean = train.mean(0)
    scale = np.sqrt(((train - mean) ** 2).sum(1).mean())
    own, other = (train - mean) / scale, (test - mean) / scale

    def kernel(a, b):
        if width is None:
            return a @ b.T
        squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
        return np.exp(-np.maximum(squares, 0) / (4 * width))

    system = kernel(own, own) + penalty * len(own) * np.eye(len(own))
    return y.mean(0) + kernel(other, own) @ np.linalg.solve(system, y - y.mean(0))


def check_world(table, world, tensors, n):
    """The views and tangents that measures were taken on."""
    codes = tensors.get("codes", n, world.code_dim)
    coefficients = world.mean + codes @ world.directions
    squares = []
    for name in ("first", "second"):
        phases = tensors.get(f"{name}_phases", n, 1)
        views = tensors.get(f"{name}_views", n, world.samples)
        squares.append((views - world.along(coefficients, phases)) ** 2)
    noise = np.concatenate(squares).ravel()
    # Five standard errors of a variance.
    tolerance = 5 * np.sqrt(2 / len(noise)) * world.noise_std**2 + EXACT
    table.number("variance of what is not signal", float(noise.mean()), world.noise_std**2, tolerance)
    phases = tensors.get("first_phases", n, 1)
    size = np.abs(coefficients).max() * world.frequencies**2
    tangents = world.along(world.directions[np.arange(n) % world.code_dim], phases)
    table.array("tangents of codes", tensors.get("code_tangents", n, world.samples), tangents, 20 * U * size)
    tangents = world.phase_tangents(coefficients, phases)
    table.array("tangents of phases", tensors.get("phase_tangents", n, world.samples), tangents, 20 * U * size)


def check_stage(table, name, reported, views, decoders):
    """Features or outputs."""
    distance = view_distance(*views)
    table.number(f"{name}: view distance", number(reported, f"{name}.view_distance"), distance, 10 * OUTPUTS)
    rank = effective_rank(views[0])
    table.number(f"{name}: effective rank", number(reported, f"{name}.effective_rank"), rank, 100 * OUTPUTS * max(rank, 1))
    values = np.linalg.svd(views[0], compute_uv=False)
    spectrum = np.array(look_up(reported, f"{name}.spectrum"), float)
    # Small singular values are those of the Gram matrix, of which the root is taken.
    table.array(f"{name}: spectrum", spectrum, values / values.sum(), 0.1 * np.sqrt(OUTPUTS))
    (train, test), targets = decoders
    for key, of, gaussian in [
        ("phase_r_squared", "phases", False),
        ("phase_kernel_r_squared", "phases", True),
        ("code_r_squared", "codes", False),
    ]:
        fitted, truth = targets[of]
        table.number(f"{name}: {key}", number(reported, f"{name}.{key}"), decoded(train, fitted, test, truth, gaussian), DECODED)
    return distance, rank


def check_gains(table, name, reported, directions, derivatives):
    """How far tangents are stretched."""
    gains = {}
    for key in ("code", "phase", "random"):
        gains[key] = mean_squared_gain(directions[key], derivatives[key])
        table.number(f"{name}: {key}", number(reported, f"{name}.{key}"), gains[key], GAINS * gains[key])
    ratio = gains["code"] / gains["phase"]
    table.number(f"{name}: code over phase", number(reported, f"{name}.code_over_phase"), ratio, 2 * GAINS * ratio)


def check_run(folder):
    """Compares everything in a folder."""
    spec, reported = read_json(folder / "spec.json"), read_json(folder / "evaluation.json")
    spec = spec.get("spec", spec)
    tensors, weights = Tensors(folder / "geometry.safetensors"), Tensors(folder / "model.safetensors")
    if "mlp" not in look_up(spec, "model.encoder"):
        raise Unreadable("spec.json: an encoder other than mlp is not covered")
    projector = look_up(spec, "model").get("projector")
    if projector and projector.get("normalization", "none") != "none":
        raise Unreadable("spec.json: a projector with normalisation is not covered")
    world, table = World(spec, tensors), Table()
    n, d = tensors.shape("first_views", 2)
    check_world(table, world, tensors, n)

    layers = [f"encoder.layers.{i}" for i in range(len(look_up(spec, "model.encoder.mlp.layer_dims")))]
    encoder = Network(weights, layers, True)
    hidden = [f"projector.hidden.{i}" for i in range(len(projector["hidden_dims"]))] if projector else []
    behind = Network(weights, [*hidden, "projector.output"], False) if projector else None

    def project(h, tangents=()):
        return behind.forward(h, tangents) if behind else (h, list(tangents))

    views = [tensors.get(f"{name}_views", n, d) for name in ("first", "second")]
    features = [encoder.forward(x)[0] for x in views]
    outputs = [project(h)[0] for h in features]
    count, _ = tensors.shape("decoder_views_fitted", 2)
    parts = ("fitted", "scored")
    decoders = [encoder.forward(tensors.get(f"decoder_views_{part}", count, d))[0] for part in parts]
    phases = [tensors.get(f"decoder_phases_{part}", count, 1) for part in parts]
    targets = {
        "phases": [np.hstack([np.cos(p), np.sin(p)]) for p in phases],
        "codes": [tensors.get(f"decoder_codes_{part}", count, world.code_dim) for part in parts],
    }
    of_inputs = view_distance(*views)
    table.number("inputs: view distance", number(reported, "input_view_distance"), of_inputs, OUTPUTS)
    of_features, rank = check_stage(table, "features", reported, features, (decoders, targets))
    projected = [project(h)[0] for h in decoders]
    of_outputs, rank_of_outputs = check_stage(table, "outputs", reported, outputs, (projected, targets))
    for key, value in [
        ("outputs_over_features", of_outputs / of_features),
        ("encoder_invariance", 1 - of_features / of_inputs),
        ("rank_ratio", rank_of_outputs / rank),
    ]:
        table.number(key, number(reported, key), value, 100 * OUTPUTS * max(abs(value), 1))

    names = {"code": "code_tangents", "phase": "phase_tangents", "random": "random_directions"}
    directions = {key: tensors.get(name, n, d) for key, name in names.items()}
    _, through = encoder.forward(views[0], list(directions.values()))
    through_encoder = dict(zip(names, through))
    check_gains(table, "encoder_gain", reported, directions, through_encoder)
    _, through = project(features[0], through)
    check_gains(table, "projector_gain", reported, through_encoder, dict(zip(names, through)))
    return table


if __name__ == "__main__":
    sys.exit(print_check("check_geometry.py", check_run, sys.argv[1:]))
