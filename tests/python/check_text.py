#!/usr/bin/env python3
"""Recomputes a run on sentences with numpy and scikit-learn: features from the weights, what is read off them, and fine-tuning on few labels.

    python tests/python/check_text.py FOLDER    # a complete run of experiments/text-topics or text-intents

The folder holds spec.json, evaluation.json, neighbors.json, model.safetensors, untrained.safetensors and text.safetensors. Encoders other than
mean_pool and projectors with normalisation are not covered; nor is fine-tuning on more labels than fit into a step.
"""

import json
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

from check_geometry import Network, decoded
from reading import EXACT, Table, Tensors, U, Unreadable, look_up, number, print_check, read_bytes, read_json, standardised
from signals import unit

OUTPUTS = 200 * U
# Rows at the edge of two classes fall on either side, and 32-bit training goes another way in its last digits.
PROBED = 0.004
TUNED = 0.012
BETAS, EPSILON = (0.9, 0.999), 1e-8


class Encoder:
    """The mean of word vectors, and layers with ReLUs behind it."""

    def __init__(self, spec, tensors):
        if "mean_pool" not in look_up(spec, "model.encoder"):
            raise Unreadable("spec.json: an encoder other than mean_pool is not covered")
        layers = len(look_up(spec, "model.encoder.mean_pool.layer_dims"))
        self.words = tensors.get("encoder.words.weight", *tensors.shape("encoder.words.weight", 2))
        self.network = Network(tensors, [f"encoder.mlp.layers.{i}" for i in range(layers)], True)

    def features(self, sentences):
        """Of rows of words that end with −1."""
        return self.network.forward(means(sentences, len(self.words)) @ self.words)[0]


def means(sentences, vocabulary):
    """How often each word occurs in a sentence, over its length."""
    counts = word_counts(sentences, vocabulary)
    return counts / counts.sum(1, keepdims=True)


def word_counts(sentences, vocabulary):
    """How often each word occurs in a sentence."""
    counts = np.zeros((len(sentences), vocabulary))
    rows, places = np.nonzero(sentences >= 0)
    np.add.at(counts, (rows, sentences[rows, places].astype(int)), 1)
    return counts


def tf_idf(train, test, n):
    """Counts weighted by how few of the first n sentences have a word, of the words that one of them has."""
    sentences = (train[:n] > 0).sum(0)
    known = sentences > 0
    weights = 1 + np.log((1 + n) / (1 + sentences[known]))
    return unit(train[:, known] * weights), unit(test[:, known] * weights)


def probe(train, classes, test, truth):
    """Accuracy of a linear probe, by another library."""
    fitted, scored = standardised(train, test)
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=20000).fit(fitted, classes)
    return float((model.predict(scored) == truth).mean())


def fine_tuned(encoder, train, classes, test, truth, steps, rate, count):
    """Accuracy after so many steps of Adam on all labels at once, with a head that starts at 0."""
    inputs = means(train, len(encoder.words))
    parameters = [encoder.words.copy()]
    for weight, bias in encoder.network.layers:
        parameters += [weight.copy(), bias.copy()]
    features = parameters[-1].shape[0] if len(parameters) > 1 else encoder.words.shape[1]
    parameters += [np.zeros((features, count)), np.zeros(count)]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
    wanted = np.eye(count)[classes]
    for step in range(1, steps + 1):
        gradients = cross_entropy_gradients(parameters, inputs, wanted)
        for i, gradient in enumerate(gradients):
            first, second = (b * m + (1 - b) * g for b, m, g in zip(BETAS, moments[i], (gradient, gradient**2)))
            moments[i] = (first, second)
            corrected = [m / (1 - b**step) for b, m in zip(BETAS, moments[i])]
            parameters[i] -= rate * corrected[0] / (np.sqrt(corrected[1]) + EPSILON)
    logits = forward(parameters, means(test, len(parameters[0])))[-1]
    return float((logits.argmax(1) == truth).mean())


def forward(parameters, inputs):
    """What each layer gives, the logits last."""
    values = [inputs @ parameters[0]]
    for weight, bias in zip(parameters[1:-2:2], parameters[2:-2:2]):
        values.append(np.maximum(values[-1] @ weight + bias, 0))
    return [*values, values[-1] @ parameters[-2] + parameters[-1]]


def cross_entropy_gradients(parameters, inputs, wanted):
    """Of the mean cross-entropy."""
    values = forward(parameters, inputs)
    shifted = np.exp(values[-1] - values[-1].max(1, keepdims=True))
    back = (shifted / shifted.sum(1, keepdims=True) - wanted) / len(wanted)
    gradients = [values[-2].T @ back, back.sum(0)]
    back = back @ parameters[-2].T
    for layer in range((len(parameters) - 3) // 2, 0, -1):
        back = back * (values[layer] > 0)
        gradients = [values[layer - 1].T @ back, back.sum(0), *gradients]
        back = back @ parameters[2 * layer - 1].T
    return [inputs.T @ back, *gradients]


def mean_cosine(rows):
    """Of two different rows."""
    cosines = unit(rows) @ unit(rows).T
    n = len(rows)
    return float((cosines.sum() - np.trace(cosines)) / (n * (n - 1)))


def check_language(table, reported, tensors, encoders):
    """Topics and style."""
    sentences = [rows_of(tensors, name) for name in ("fitted", "scored")]
    for prefix, encoder in zip(("", "untrained_"), encoders):
        features = [encoder.features(s) for s in sentences]
        scores = {}
        for target in ("topics", "style"):
            y = [tensors.get(f"{name}_{target}", *tensors.shape(f"{name}_{target}", 2)) for name in ("fitted", "scored")]
            scores[target] = decoded(features[0], y[0], features[1], y[1], False)
            table.number(f"{prefix}{target}", number(reported, f"language.{prefix}{target}"), scores[target], 0.001)
        difference = scores["topics"] - scores["style"]
        table.number(f"{prefix}topics minus style", number(reported, f"language.{prefix}topics_minus_style"), difference, 0.002)


def rows_of(tensors, name):
    """Rows of words that end with −1."""
    return tensors.get(name, *tensors.shape(name, 2))


def check_labels(table, spec, reported, tensors, encoders):
    """Accuracies with so many labels."""
    train, test = rows_of(tensors, "labelled"), rows_of(tensors, "test")
    classes = tensors.get("labelled_classes", len(train), 1)[:, 0].astype(int)
    truth = tensors.get("test_classes", len(test), 1)[:, 0].astype(int)
    vocabulary, rate = len(encoders[0].words), number(spec, "evaluation.fine_tuning_rate")
    most, count = int(number(spec, "evaluation.fine_tuning_batch")), classes.max() + 1
    features = [[e.features(s) for s in (train, test)] for e in encoders]
    counts = [word_counts(s, vocabulary) for s in (train, test)]
    for budget in look_up(spec, "evaluation.budgets"):
        n, steps = int(budget["labels"]), int(budget["steps"])
        given = look_up(reported, f"labels.{n}")
        fitted = {"probe": features[0], "untrained_probe": features[1]}
        if "bag_of_words" in given:
            fitted |= {"bag_of_words": counts, "tf_idf": tf_idf(*counts, n)}
        scores = {}
        for name, (a, b) in fitted.items():
            scores[name] = probe(a[:n], classes[:n], b, truth)
            table.number(f"{n} labels: {name}", number(given, name), scores[name], PROBED)
        gain = scores["probe"] - scores["untrained_probe"]
        table.number(f"{n} labels: probe_gain", number(given, "probe_gain"), gain, 2 * PROBED)
        if n > most:
            table.number(f"{n} labels: gain", number(given, "gain"), number(given, "fine_tuned") - number(given, "scratch"), EXACT)
            continue
        tuned = [fine_tuned(e, train[:n], classes[:n], test, truth, steps, rate, count) for e in encoders]
        for name, value in [("fine_tuned", tuned[0]), ("scratch", tuned[1]), ("gain", tuned[0] - tuned[1])]:
            table.number(f"{n} labels: {name}", number(given, name), value, TUNED)


def check_neighbors(table, folder, spec, test, truth, encoders):
    """The nearest sentences, of the generated language, whose words are told by their numbers."""
    c = look_up(spec, "data.text.source.topic_language")
    topic_words = c["topics"] * c["concepts"] * c["synonyms"]

    def text(word):
        if word >= topic_words:
            return f"s{word - topic_words:03}"
        concept, synonym = divmod(word, c["synonyms"])
        return f"t{concept // c['concepts']:02}c{concept % c['concepts']}{chr(97 + synonym)}"

    texts = [" ".join(text(int(w)) for w in sorted(row[row >= 0])) for row in test]
    near = {}
    for when, encoder in zip(("after", "before"), encoders):
        cosines = unit(encoder.features(test)) @ unit(encoder.features(test)).T
        np.fill_diagonal(cosines, -np.inf)
        near[when] = cosines
    shown = json.loads(read_bytes(folder / "neighbors.json"))
    for entry in shown:
        own = texts.index(entry["sentence"])
        table.count("a sentence of another class", entry["class"] != f"topic {truth[own]}")
        for when, cosines in near.items():
            found = texts.index(entry[when][0])
            table.number(f"cosine of the nearest sentence {when}", float(cosines[own, found]), float(cosines[own].max()), OUTPUTS)
            table.count(f"class of the nearest sentence {when}", entry[when][1] != f"topic {truth[found]}")


def check_run(folder):
    """Compares everything in a folder."""
    spec, reported = read_json(folder / "spec.json"), read_json(folder / "evaluation.json")
    spec = spec.get("spec", spec)
    tensors = Tensors(folder / "text.safetensors")
    weights = [Tensors(folder / f"{name}.safetensors") for name in ("model", "untrained")]
    encoders = [Encoder(spec, w) for w in weights]
    table = Table()
    if "language" in reported:
        check_language(table, reported, tensors, encoders)
    test = rows_of(tensors, "test")
    features = encoders[0].features(test)
    table.number("mean cosine of features", number(reported, "mean_cosine"), mean_cosine(features), OUTPUTS)
    outputs = project(spec, weights[0], features)
    table.number("mean cosine of outputs", number(reported, "outputs_mean_cosine"), mean_cosine(outputs), OUTPUTS)
    check_labels(table, spec, reported, tensors, encoders)
    if "topic_language" in look_up(spec, "data.text.source"):
        truth = tensors.get("test_classes", len(test), 1)[:, 0].astype(int)
        check_neighbors(table, folder, spec, test, truth, encoders)
    return table


def project(spec, tensors, features):
    """Outputs of features."""
    projector = look_up(spec, "model").get("projector")
    if not projector:
        return features
    if projector.get("normalization", "none") != "none":
        raise Unreadable("spec.json: a projector with normalisation is not covered")
    names = [*(f"projector.hidden.{i}" for i in range(len(projector["hidden_dims"]))), "projector.output"]
    return Network(tensors, names, False).forward(features)[0]


if __name__ == "__main__":
    sys.exit(print_check("check_text.py", check_run, sys.argv[1:]))
