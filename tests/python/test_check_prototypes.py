"""`check_prototypes.py` accepts a run made by another implementation, and no other numbers.

    python test_check_prototypes.py
"""

import itertools
import math
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
from check_prototypes import check_run  # noqa: E402
from making_runs import paths, rounded, save, unnoticed, write  # noqa: E402

CLASSES, D, D1, DRAWS, TAU = 3, 5, 8, 2, 0.7


def make(folder):
    """A run: files and what is reported."""
    rng = np.random.default_rng(5)
    dictionary = rounded(np.linalg.qr(rng.normal(size=(D1, D)))[0].T)
    weights = {}
    for name, inputs, outputs in [("encoder.layers.0", D1, 6), ("projector.output", 6, 4)]:
        weights[f"{name}.weight"] = rounded(rng.normal(size=(inputs, outputs)) / math.sqrt(inputs))
        weights[f"{name}.bias"] = rounded(rng.normal(size=outputs) / 4)

    def encode(x):
        return np.maximum(x @ weights["encoder.layers.0.weight"] + weights["encoder.layers.0.bias"], 0)

    def project(h):
        return h @ weights["projector.output.weight"] + weights["projector.output.bias"]

    def draw(labels):
        nuisance = rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2], size=(len(labels), D - CLASSES))
        codes = np.hstack([2.0 * np.eye(CLASSES)[labels], nuisance])
        return rounded(codes @ dictionary + 0.3 * rng.normal(size=(len(labels), D1)))

    def units(x):
        return [row / np.linalg.norm(row) for row in project(encode(x))]

    classes, of_others = np.arange(9) % CLASSES, np.arange(15) % CLASSES
    views = [draw(classes) for _ in range(1 + DRAWS)]
    others = draw(of_others)
    queries, keys, means = units(views[0]), [units(v) for v in views[1:]], units(others)
    samples = [sum(draw[i] for draw in keys) / DRAWS for i in range(9)]
    prototypes = [sum(m for m, c in zip(means, of_others) if c == k) / 5 for k in range(CLASSES)]

    def loss(keys, own):
        logs = (math.log(sum(math.exp(q @ k / TAU) for k in keys)) - q @ o / TAU for q, o in zip(queries, own))
        return sum(logs) / len(queries)

    of_classes = [prototypes[c] for c in classes]
    contrastive, own = (sum(loss(k, o) for k, o in pairs) / DRAWS for pairs in (zip(keys, keys), ((k, queries) for k in keys)))
    surrogate, supervised = loss(samples, samples), loss(of_classes, of_classes)
    biases = [float(np.linalg.norm(a - b)) for a, b in zip(samples, of_classes)]
    apart = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(prototypes, 2)]
    bias = sum(biases) / len(biases)
    reported = {
        "prototypes": {
            "contrastive_loss": contrastive, "surrogate_loss": surrogate, "supervised_loss": supervised,
            "jensen_gap": contrastive - surrogate, "jensen_gap_of_own_queries": own - surrogate,
            "supervised_difference": abs(supervised - surrogate), "supervised_bound": (bias + max(biases)) / TAU,
            "bias": bias, "relative_bias": bias / (sum(apart) / len(apart)),
        }
    }
    labels = np.arange(300) % CLASSES
    train, test = draw(labels), draw(labels)
    for name, of in [("features", encode), ("outputs", lambda x: project(encode(x))), ("inputs", lambda x: x)]:
        scaler = StandardScaler().fit(of(train))
        model = LogisticRegression(tol=1e-10, max_iter=10000).fit(scaler.transform(of(train)), labels)
        right = model.predict(scaler.transform(of(test))) == labels
        of_class = [float(right[labels == c].mean()) for c in range(CLASSES)]
        reported[name] = {
            "accuracy": float(right.mean()), "frequent_half": (of_class[0] + of_class[1]) / 2, "rare_half": of_class[2], "of_class": of_class,
        }
    reported["features_minus_outputs"] = reported["features"]["accuracy"] - reported["outputs"]["accuracy"]

    def column(values):
        return np.asarray(values, float)[:, None]

    save(folder / "classes.safetensors", {
        "dictionary": dictionary, "queries": views[0], "keys": np.concatenate(views[1:]), "classes": column(classes), "others": others,
        "classes_of_others": column(of_others), "probe_fitted": train, "probe_fitted_classes": column(labels),
        "probe_scored": test, "probe_scored_classes": column(labels),
    })
    save(folder / "model.safetensors", weights)
    data = {"classes": CLASSES, "input_dim": D1, "code_dim": D}
    model = {"encoder": {"mlp": {"layer_dims": [6]}}, "projector": {"hidden_dims": [], "output_dim": 4}}
    write(folder, "spec.json", {"spec": {"data": {"class_features": data}, "model": model, "evaluation": {"temperature": TAU}}})
    write(folder, "evaluation.json", reported)
    return reported


class CheckPrototypes(unittest.TestCase):
    """Against the run above."""

    def wrong(self, folder):
        return [row.name for row in check_run(folder).rows if not row.agrees]

    def test_agrees_with_another_implementation(self):
        with tempfile.TemporaryDirectory() as name:
            make(Path(name))
            self.assertEqual(self.wrong(Path(name)), [])

    def test_every_number_is_looked_at(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            reported = make(folder)
            self.assertGreater(len(list(paths(reported))), 20)
            self.assertEqual(unnoticed(folder, reported, self.wrong, 1.1), [])


if __name__ == "__main__":
    unittest.main()
