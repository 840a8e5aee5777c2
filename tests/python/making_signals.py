"""Signals of a snapshot for the tests, pair by pair and by another decomposition than the check."""

import itertools
import math

import numpy as np


def rank(rows):
    """Effective rank, from the eigenvalues of the Gram matrix."""
    rows = np.asarray(rows, float)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(rows.T @ rows), 0, None))
    values = values[values > 1e-9 * values.max()]
    return math.exp(-sum(v / values.sum() * math.log(v / values.sum()) for v in values))


def of_outputs(first, second):
    """What is reported of the outputs for two views."""
    views = [[row / (np.linalg.norm(row) or 1.0) for row in np.asarray(view, float)] for view in (first, second)]
    n = len(first)
    centre = sum(views[0]) / n

    def uniformity(rows):
        distances = (float((a - b) @ (a - b)) for a, b in itertools.permutations(rows, 2))
        return math.log(sum(math.exp(-2 * d) for d in distances) / (n * (n - 1)))

    return {
        "effective_rank": rank(first),
        "spread": math.sqrt(sum(float((row - centre) @ (row - centre)) for row in views[0]) / n),
        "alignment": sum(float((f - g) @ (f - g)) for f, g in zip(*views)) / n,
        "uniformity": sum(map(uniformity, views)) / 2,
    }


def view_distance(first, second):
    """Pair by pair."""
    n = len(first)
    first, second = np.asarray(first, float), np.asarray(second, float)
    own = sum(float((a - b) @ (a - b)) for a, b in zip(first, second)) / n
    others = [float((first[i] - second[j]) @ (first[i] - second[j])) for i, j in itertools.permutations(range(n), 2)]
    return own / (sum(others) / len(others))


def snapshot(embed, observations, views, gradients):
    """A snapshot before a step, and the tensors that it is recomputed from."""
    reported = {
        "feature_rank": rank(embed(observations)),
        "outputs": of_outputs(*map(embed, views)),
        "view_distances": dict.fromkeys(("features", "outputs"), view_distance(*map(embed, views))),
        "gradient_norm": math.sqrt(sum(float(v) ** 2 for g in gradients for v in np.ravel(g))),
    }
    return reported, {"snapshot_x": observations, "held_out_x_plus": views[0], "held_out_x_plus_plus": views[1]}
