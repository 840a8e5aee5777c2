"""`check_text.py` accepts a run made by another implementation, and no other numbers.

    python test_check_text.py
"""

import copy
import itertools
import json
import math
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
from check_text import check_run  # noqa: E402
from making_runs import paths, rounded, save, unnoticed, write  # noqa: E402
from test_check_geometry import decoded  # noqa: E402

LANGUAGE = {"topics": 2, "concepts": 2, "synonyms": 2, "style_words": 6, "style_dim": 2}
VOCABULARY, WIDTH, UNITS, OUTPUTS, WORDS = 14, 4, 5, 3, 5
BUDGETS, RATE, BATCH = [(12, 6), (24, 6)], 0.05, 12


def features(parameters, sentence):
    """Of one sentence, word by word; also of complex numbers."""
    mean = sum(parameters[0][int(word)] for word in sentence if word >= 0) / sum(1 for word in sentence if word >= 0)
    hidden = mean @ parameters[1] + parameters[2]
    return np.where(hidden.real > 0, hidden, 0)


def tuned(start, train, classes, test, truth, steps):
    """Accuracy after Adam with derivatives along each parameter by a complex step."""
    shapes = [p.shape for p in start] + [(UNITS, 2), (2,)]
    flat = np.concatenate([p.ravel() for p in start] + [np.zeros(2 * UNITS), np.zeros(2)])
    ends = np.cumsum([math.prod(s) for s in shapes])[:-1]

    def split(values):
        return [part.reshape(s) for part, s in zip(np.split(values, ends), shapes)]

    def loss(values):
        parameters = split(values)
        total = 0
        for sentence, own in zip(train, classes):
            logits = features(parameters, sentence) @ parameters[-2] + parameters[-1]
            total = total + np.log(np.exp(logits).sum()) - logits[own]
        return total / len(train)

    first, second = np.zeros_like(flat), np.zeros_like(flat)
    for step in range(1, steps + 1):
        slope = np.array([loss(flat + 1e-30j * (np.arange(len(flat)) == i)).imag / 1e-30 for i in range(len(flat))])
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope * slope
        flat = flat - RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    parameters = split(flat)
    told = [int(np.argmax(features(parameters, s) @ parameters[-2] + parameters[-1])) for s in test]
    return sum(a == b for a, b in zip(told, truth)) / len(truth)


def probed(train, classes, test, truth):
    """By scikit-learn."""
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(tol=1e-8, max_iter=10000).fit(scaler.transform(train), classes)
    return float(model.score(scaler.transform(test), truth))


def make(folder):
    """A run: files and what is reported."""
    rng = np.random.default_rng(8)

    def network():
        return [rounded(rng.normal(size=s)) for s in [(VOCABULARY, WIDTH), (WIDTH, UNITS), (UNITS,)]]

    encoders = {"model": network(), "untrained": network()}
    weights = {
        name: {"encoder.words.weight": p[0], "encoder.mlp.layers.0.weight": p[1], "encoder.mlp.layers.0.bias": p[2]} for name, p in encoders.items()
    }
    head = {"projector.output.weight": rounded(rng.normal(size=(UNITS, OUTPUTS))), "projector.output.bias": rounded(rng.normal(size=OUTPUTS))}
    weights["model"] |= head

    def draw(n):
        topics = rng.integers(0, 2, n)
        style = rounded(rng.normal(size=(n, 2)))
        rows = [[4 * t + rng.integers(4), 4 * t + rng.integers(4), 8 + rng.integers(6), 8 + rng.integers(6), -1 if i % 3 else 9] for i, t in enumerate(topics)]
        mixed = rounded(np.where(topics[:, None] == np.arange(2), 0.75, 0.25))
        return np.array(rows, float), topics, mixed, style

    (train, classes, *_), (test, truth, *_), fitted, scored = draw(24), draw(30), draw(40), draw(20)
    encode = {name: (lambda rows, p=p: np.array([features(p, row) for row in rows])) for name, p in encoders.items()}
    language = {}
    for name, prefix in [("model", ""), ("untrained", "untrained_")]:
        a, b = (encode[name](drawn[0]) for drawn in (fitted, scored))
        values = [decoded(a, fitted[k], b, scored[k], "linear") for k in (2, 3)]
        language |= {f"{prefix}topics": values[0], f"{prefix}style": values[1], f"{prefix}topics_minus_style": values[0] - values[1]}
    trained, before = encode["model"](test), encode["untrained"](test)

    def cosine(a, b):
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / lengths) if lengths else 0.0

    def mean_cosine(rows):
        return float(np.mean([cosine(a, b) for a, b in itertools.permutations(rows, 2)]))

    counts = [np.array([[list(row).count(w) for w in range(VOCABULARY)] for row in rows], float) for rows in (train, test)]
    labels = {}
    for n, steps in BUDGETS:
        score = {}
        for name, (a, b) in {
            "probe": (encode["model"](train), trained), "untrained_probe": (encode["untrained"](train), before), "bag_of_words": counts,
        }.items():
            score[name] = probed(a[:n], classes[:n], b, truth)
        seen = [c[:, counts[0][:n].any(0)] for c in (counts[0][:n], counts[1])]
        weighted = TfidfTransformer(smooth_idf=True).fit(seen[0])
        a, b = (weighted.transform(c).toarray() for c in seen)
        score["tf_idf"] = probed(a, classes[:n], b, truth)
        score["probe_gain"] = score["probe"] - score["untrained_probe"]
        if n <= BATCH:
            arms = [tuned(encoders[name], train[:n], classes[:n], test, truth, steps) for name in ("model", "untrained")]
        else:
            arms = [0.9, 0.6]
        labels[str(n)] = {"fine_tuned": arms[0], "scratch": arms[1], "gain": arms[0] - arms[1], **score}
    outputs = trained @ head["projector.output.weight"] + head["projector.output.bias"]
    reported = {"language": language, "mean_cosine": mean_cosine(trained), "outputs_mean_cosine": mean_cosine(outputs), "labels": labels}

    def text(row):
        return " ".join(f"t{w // 4:02}c{w % 4 // 2}{'ab'[w % 2]}" if w < 8 else f"s{w - 8:03}" for w in sorted(int(w) for w in row if w >= 0))

    texts = [text(row) for row in test]
    shown = []
    for own in [i for i in range(len(test)) if texts.count(texts[i]) == 1][:2]:
        entry = {"sentence": texts[own], "class": f"topic {truth[own]}"}
        for when, rows in [("before", before), ("after", trained)]:
            near = max((j for j in range(len(test)) if j != own), key=lambda j: cosine(rows[own], rows[j]))
            entry[when] = [texts[near], f"topic {truth[near]}"]
        shown.append(entry)

    def column(values):
        return np.asarray(values, float)[:, None]

    save(folder / "text.safetensors", {
        "labelled": train, "labelled_classes": column(classes), "test": test, "test_classes": column(truth),
        "fitted": fitted[0], "fitted_topics": fitted[2], "fitted_style": fitted[3],
        "scored": scored[0], "scored_topics": scored[2], "scored_style": scored[3],
    })
    for name, tensors in weights.items():
        save(folder / f"{name}.safetensors", tensors)
    (folder / "neighbors.json").write_text(json.dumps(shown))
    model = {"encoder": {"mean_pool": {"embedding_dim": WIDTH, "layer_dims": [UNITS]}}, "projector": {"hidden_dims": [], "output_dim": OUTPUTS}}
    budgets = [{"labels": n, "steps": steps} for n, steps in BUDGETS]
    evaluation = {"budgets": budgets, "fine_tuning_rate": RATE, "fine_tuning_batch": BATCH}
    write(folder, "spec.json", {"spec": {"data": {"text": {"source": {"topic_language": LANGUAGE}}}, "model": model, "evaluation": evaluation}})
    write(folder, "evaluation.json", reported)
    return reported


class CheckText(unittest.TestCase):
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

    def test_nearest_sentences_are_looked_at(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder)
            shown = json.loads((folder / "neighbors.json").read_text())
            for when in ("before", "after"):
                changed = copy.deepcopy(shown)
                changed[0][when] = [changed[0]["sentence"], changed[0]["class"]]
                (folder / "neighbors.json").write_text(json.dumps(changed))
                self.assertTrue(self.wrong(folder), when)


if __name__ == "__main__":
    unittest.main()
