#!/usr/bin/env python3
"""Recomputes a run on observations with a class with numpy and scikit-learn: outputs from the weights, and every number of evaluation.json from those.

    python tests/python/check_prototypes.py FOLDER    # a complete run of experiments/prototype-bias or balanced-contrast

The folder holds spec.json, evaluation.json, model.safetensors and classes.safetensors. Encoders other than multi-layer perceptrons and projectors with
normalisation are not covered.
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

from check_geometry import Network
from reading import EXACT, Table, Tensors, U, Unreadable, look_up, number, print_check, read_json, standardised
from signals import unit

# Outputs are sums of hundreds of 32-bit products, of length 1 afterwards; losses divide by the temperature.
OUTPUTS = 20 * U


def log_sum_exp(rows):
    """Row by row."""
    largest = rows.max(1, keepdims=True)
    return largest[:, 0] + np.log(np.exp(rows - largest).sum(1))


def contrast(queries, keys, own, temperature):
    """Mean of −⟨q_i, own_i⟩/τ + log Σ_j exp(⟨q_i, key_j⟩/τ)."""
    return float((log_sum_exp(queries @ keys.T / temperature) - (queries * own).sum(1) / temperature).mean())


def prototype_measures(queries, keys, classes, others, classes_of_others, temperature):
    """Losses with samples and with classes, and the bias between their prototypes; keys are [draws, n, k]."""
    of_samples = keys.mean(0)
    names = np.unique(classes_of_others)
    prototypes = np.stack([others[classes_of_others == c].mean(0) for c in names])
    of_classes = prototypes[np.searchsorted(names, classes)]
    losses = [contrast(queries, draw, draw, temperature) for draw in keys]
    own = [contrast(queries, draw, queries, temperature) for draw in keys]
    surrogate = contrast(queries, of_samples, of_samples, temperature)
    supervised = contrast(queries, of_classes, of_classes, temperature)
    biases = np.linalg.norm(of_samples - of_classes, axis=1)
    apart = np.linalg.norm(prototypes[:, None] - prototypes[None], axis=2)[np.triu_indices(len(names), 1)].mean()
    return {
        "contrastive_loss": np.mean(losses),
        "surrogate_loss": surrogate,
        "supervised_loss": supervised,
        "jensen_gap": np.mean(losses) - surrogate,
        "jensen_gap_of_own_queries": np.mean(own) - surrogate,
        "supervised_difference": abs(supervised - surrogate),
        "supervised_bound": (biases.mean() + biases.max()) / temperature,
        "bias": biases.mean(),
        "relative_bias": biases.mean() / apart,
    }


def check_score(table, name, reported, train, labels, test, truth, count):
    """A linear probe, by another library."""
    fitted, scored = standardised(train, test)
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000).fit(fitted, labels)
    predicted = model.predict(scored)
    of_class = np.array([np.mean(predicted[truth == c] == c) for c in range(count)])
    half = (count + 1) // 2
    # A test row at the edge of two classes may fall on either side.
    one = 2 / min(np.sum(truth == c) for c in range(count))
    table.array(f"{name}: of class", np.array(look_up(reported, f"{name}.of_class"), float), of_class, one)
    for key, value in [("accuracy", np.mean(predicted == truth)), ("frequent_half", of_class[:half].mean()), ("rare_half", of_class[half:].mean())]:
        table.number(f"{name}: {key}", number(reported, f"{name}.{key}"), float(value), 0.003 + EXACT)
    return float(np.mean(predicted == truth))


def check_run(folder):
    """Compares everything in a folder."""
    spec, reported = read_json(folder / "spec.json"), read_json(folder / "evaluation.json")
    spec = spec.get("spec", spec)
    tensors, weights = Tensors(folder / "classes.safetensors"), Tensors(folder / "model.safetensors")
    encoder, project = networks(spec, weights)
    table = Table()
    count, d = int(number(spec, "data.class_features.classes")), int(number(spec, "data.class_features.input_dim"))

    def classes(name):
        rows, _ = tensors.shape(name, 2)
        return tensors.get(name, rows, 1)[:, 0].astype(int)

    def features(name):
        rows, _ = tensors.shape(name, 2)
        return encoder(tensors.get(name, rows, d))

    dictionary = tensors.get("dictionary", int(number(spec, "data.class_features.code_dim")), d)
    table.array("features are orthonormal", dictionary @ dictionary.T, np.eye(len(dictionary)), 100 * U)
    queries = unit(project(features("queries")))
    keys = unit(project(features("keys"))).reshape(-1, *queries.shape)
    others = unit(project(features("others")))
    temperature = number(spec, "evaluation.temperature")
    found = prototype_measures(queries, keys, classes("classes"), others, classes("classes_of_others"), temperature)
    for key, value in found.items():
        tolerance = OUTPUTS / temperature * max(1.0, abs(value))
        table.number(f"prototypes: {key}", number(reported, f"prototypes.{key}"), float(value), tolerance)
    table.count("InfoNCE below the loss with prototypes", found["jensen_gap"] < -EXACT)
    table.count("supervised loss out of its bound", found["supervised_difference"] > found["supervised_bound"] + EXACT)

    labels, truth = classes("probe_fitted_classes"), classes("probe_scored_classes")
    parts = ("probe_fitted", "probe_scored")
    of_encoder = [features(name) for name in parts]
    inputs = [tensors.get(name, len(rows), d) for name, rows in zip(parts, of_encoder)]
    scores = {}
    for name, (train, test) in [("features", of_encoder), ("outputs", [project(h) for h in of_encoder]), ("inputs", inputs)]:
        scores[name] = check_score(table, name, reported, train, labels, test, truth, count)
    difference = scores["features"] - scores["outputs"]
    table.number("features_minus_outputs", number(reported, "features_minus_outputs"), difference, 0.006)
    return table


def networks(spec, weights):
    """Encoder and projector as functions."""
    if "mlp" not in look_up(spec, "model.encoder"):
        raise Unreadable("spec.json: an encoder other than mlp is not covered")
    projector = look_up(spec, "model").get("projector")
    if projector and projector.get("normalization", "none") != "none":
        raise Unreadable("spec.json: a projector with normalisation is not covered")
    encoder = Network(weights, [f"encoder.layers.{i}" for i in range(len(look_up(spec, "model.encoder.mlp.layer_dims")))], True)
    if not projector:
        return (lambda x: encoder.forward(x)[0]), (lambda h: h)
    behind = Network(weights, [*(f"projector.hidden.{i}" for i in range(len(projector["hidden_dims"]))), "projector.output"], False)
    return (lambda x: encoder.forward(x)[0]), (lambda h: behind.forward(h)[0])


if __name__ == "__main__":
    sys.exit(print_check("check_prototypes.py", check_run, sys.argv[1:]))
