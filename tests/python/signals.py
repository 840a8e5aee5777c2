"""What the checks of a run share about how outputs are spread: the signals of a snapshot, from their definitions."""

import numpy as np

from reading import EXACT, U, look_up, number

# Outputs and features are sums of up to thousands of 32-bit products: this is how far their measures move, relative to their size.
OUTPUTS = 2000 * U
# A row that is shorter than this share of the longest may point anywhere.
SHORT = 1e-5
UNIFORMITY_EXPONENT = 2.0
# With fewer pairs nothing is reported of their spread.
LEAST_PAIRS = 8


def effective_rank(rows):
    """Exponential of the entropy of the singular values over their sum; 0 for a matrix of zeros."""
    values = np.linalg.svd(rows, compute_uv=False)
    shares = values[values > 0] / max(values.sum(), 1e-300)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def unit(rows, epsilon=0.0):
    """Rows of unit length; rows of zeros stay so."""
    lengths = np.sqrt((rows * rows).sum(1, keepdims=True) + epsilon)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def uniformity(rows):
    """log of the mean over pairs of different rows of exp(−2 · squared distance)."""
    n = len(rows)
    squares = (rows * rows).sum(1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0)
    return float(np.log((np.exp(-UNIFORMITY_EXPONENT * distances).sum() - n) / (n * (n - 1))))


def view_distance(first, second):
    """E‖f(a) − f(b)‖² over E‖f(a) − f(b')‖², over all pairs of different samples."""
    n = len(first)
    squares = (first * first).sum(1)[:, None] + (second * second).sum(1)[None] - 2 * first @ second.T
    own = float(((first - second) ** 2).sum())
    return own / n / ((float(squares.sum()) - own) / (n * (n - 1)))


def share_short(rows):
    """Fraction of rows whose direction is a matter of rounding."""
    lengths = np.linalg.norm(rows, axis=1)
    return float(np.mean((lengths > 0) & (lengths < SHORT * max(lengths.max(), 1e-300))))


def check_outputs(table, name, reported, first, second):
    """The measures of the outputs for two views of samples, [n, k]."""
    f, g = unit(first), unit(second)
    # A direction that rounding decides moves its sample to anywhere on the sphere.
    doubt = share_short(first) + share_short(second)
    spread = float(np.sqrt(((f - f.mean(0)) ** 2).sum(1).mean()))
    alignment = float(((f - g) ** 2).sum(1).mean())
    measures = {
        "effective_rank": (effective_rank(first), 1.0),
        "spread": (spread, 1.0 / max(spread, 0.01)),
        "alignment": (alignment, 4.0),
        "uniformity": ((uniformity(f) + uniformity(g)) / 2, 8.0),
    }
    for key, (value, size) in measures.items():
        tolerance = OUTPUTS * max(size, abs(value)) + doubt * size + EXACT
        table.number(f"{name}: {key}", number(reported, f"outputs.{key}"), value, tolerance)


def check_view_distances(table, name, reported, features, outputs):
    """How far the two views of samples are apart, in features and in outputs; pairs of [n, k]."""
    for key, views in (("features", features), ("outputs", outputs)):
        distance = view_distance(*views)
        table.number(f"{name}: view distance of {key}", number(reported, f"view_distances.{key}"), distance, OUTPUTS * distance + EXACT)


def check_rank(table, name, reported, features):
    """The effective rank of features, [n, C]."""
    rank = effective_rank(features)
    table.number(f"{name}: feature_rank", number(reported, "feature_rank"), rank, OUTPUTS * rank + EXACT)


def check_gradient_norm(table, reported, gradients, factor=1.0):
    """The norm of a step's gradients, which were multiplied by a factor so as not to be too long."""
    norm = float(np.sqrt(sum((g * g).sum() for g in gradients))) / factor
    table.number("snapshot: gradient_norm", number(reported, "gradient_norm"), norm, OUTPUTS * norm + EXACT)


def check_snapshot(table, run, tensors, encode, d1, gradients, factor=1.0):
    """The signals of a vector encoder's snapshot before the step; `encode` maps x to f(x)."""
    reported = look_up(run, "snapshot_before")
    rows, _ = tensors.shape("snapshot_x", 2)
    check_rank(table, "snapshot", reported, encode(tensors.get("snapshot_x", rows, d1)))
    pairs, _ = tensors.shape("held_out_x_plus", 2)
    views = [tensors.get(f"held_out_{view}", pairs, d1) for view in ("x_plus", "x_plus_plus")]
    encoded = [encode(view) for view in views]
    check_outputs(table, "snapshot", reported, *encoded)
    # Nothing is behind the encoders that are covered.
    check_view_distances(table, "snapshot", reported, encoded, encoded)
    check_gradient_norm(table, reported, gradients, factor)
