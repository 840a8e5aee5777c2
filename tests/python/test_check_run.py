"""`check_run.py` accepts a run made by another implementation in 32-bit floats, and no other numbers.

    python test_check_run.py
"""

import contextlib
import io
import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import check_run  # noqa: E402
import making_signals  # noqa: E402
import reading  # noqa: E402

D, D1, M = 6, 40, 14
BATCH, NEGATIVES = 48, 64
ROWS = 400
F = np.float32
SIGNALS = ("feature_rank", "gradient_norm") + tuple(f"outputs.{k}" for k in ("effective_rank", "spread", "alignment", "uniformity"))
SIGNALS += ("view_distances.features", "view_distances.outputs")

COMPLEMENTARY = [{"complementary_mask": {"keep_probability": 0.5, "masked_fraction": 1.0, "rescaling": "unbiased"}}]
SCHEDULED = {"scheduled": {"start_step": 5, "initial_ratio": 0.3, "growth": 0.4, "cap_ratio": 0.5}}


def specification(transform, bias, scale):
    """What `run.json` says of a run."""
    return {
        "data": {
            "sparse_coding": {"code_dim": D, "input_dim": D1, "negatives": {"fresh": {"count": NEGATIVES}}},
        },
        "views": {"transform": transform},
        "model": {
            "encoder": {
                "symmetric_relu": {"num_neurons": M, "initial_scale": 0.1, "bias": bias, "normalization": "none"},
            },
        },
        "objective": {
            "info_nce": {
                "similarity": "inner_product",
                "key_gradient": "stopped",
                "temperature": 0.7,
                "scale": scale,
            }
        },
        "optimization": {
            "steps": 20,
            "batch_size": BATCH,
            "optimizer": {"sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.01}},
            "learning_rate": {
                "exponential_decay": {"first": 0.5, "decay_from": 2.0, "decay_to": 12.0, "last": 0.05},
            },
            "snapshot_every": 10,
        },
        "evaluation": {"samples": ROWS, "probe_samples": ROWS, "baselines": True},
    }


# A run in 32-bit floats


class Maker:
    """Makes the files of a run."""

    def __init__(self, transform, bias, step, scale):
        self.rng = np.random.default_rng(7)
        self.spec = specification(transform, bias, scale)
        self.transform, self.bias, self.step = transform, bias, step
        self.dictionary = np.linalg.qr(self.rng.standard_normal((D1, D)))[0].astype(F)

    def observations(self, count):
        """z, ξ and x."""
        z = (self.rng.random((count, D)) < 0.25) * self.rng.choice([-1.0, 1.0], (count, D))
        xi = (0.2 * self.rng.standard_normal((count, D1))).astype(F)
        x = xi.copy()
        for j in range(D):
            x += np.outer(z[:, j], self.dictionary[:, j]).astype(F)
        return z.astype(F), xi, x

    def encoder(self):
        """Neurons that are features with something else mixed in; the last is pure noise."""
        w = 1.3 * self.dictionary.T[np.arange(M) % D] + 0.08 * self.rng.standard_normal((M, D1))
        w[-1] = 0.1 * self.rng.standard_normal(D1)
        w = w.astype(F)
        fraction = 0.0 if self.bias == "zero" else 0.25
        return w, (fraction * np.linalg.norm(w, axis=1)).astype(F)

    def masks(self, shape):
        """Masks and factors of both views."""
        if not self.transform:
            return None
        ((kind, fields),) = self.transform[0].items()
        p, s = fields["keep_probability"], fields["masked_fraction"]
        subject = self.rng.random(shape) < s
        first = self.rng.random(shape) < p
        second = ~first if kind == "complementary_mask" else self.rng.random(shape) < p
        q = 1 - p if kind == "complementary_mask" else p
        unbiased = fields["rescaling"] == "unbiased"
        views = []
        for kept, keep in ((first, p), (second, q)):
            if kind == "independent_masks":
                subject = self.rng.random(shape) < s
            factor = np.where(subject, np.where(kept, 1 / keep if unbiased else 1.0, 0.0), 1.0).astype(F)
            views.append(((factor != 0).astype(F), factor))
        return views

    def step_tensors(self):
        """The tensors of one step, with its loss and its learning rate."""
        z, xi, x = self.observations(BATCH)
        tensors = {"dictionary": self.dictionary, "z": z, "xi": xi, "x": x, "x_plus": x, "x_plus_plus": x}
        masks = self.masks(x.shape)
        if masks:
            for name, (mask, factor) in zip(("plus", "plus_plus"), masks):
                tensors |= {f"mask_{name}": mask, f"x_{name}": x * factor}
        names = ("negative_z", "negative_xi", "negatives")
        tensors |= dict(zip(names, self.observations(NEGATIVES)))
        w, b = self.encoder()
        start = self.bias.get("scheduled", {}).get("start_step") if isinstance(self.bias, dict) else None
        if start is not None and self.step <= start:
            b = np.zeros_like(b)
        objective = self.spec["objective"]["info_nce"]
        tau = F(objective["temperature"])
        factor = tau if objective["scale"] == "temperature" else F(1)
        loss, gradient, gradient_b = loss_and_gradient(w, b, tensors, tau, factor)
        eta = 0.5 * 0.1 ** ((self.step - 2) / 10) if self.step > 2 else 0.5
        w_after = w - F(eta) * (gradient + F(0.01) * w)
        tensors |= {"weights_before": w, "biases_before": b, "gradient": gradient, "weights_after": w_after}
        tensors["biases_after"] = self.thresholds(w, w_after, b, F(eta) * gradient_b)
        views = [np.vstack([tensors[name], tensors[name][::-1] * F(0.7)]) for name in ("x_plus", "x_plus_plus")]
        is_trained = isinstance(self.bias, dict) and "trained" in self.bias
        gradients = [gradient, gradient_b] if is_trained else [gradient]
        before, of_snapshot = making_signals.snapshot(lambda x: embed(w, b, x), self.observations(ROWS)[2], views, gradients)
        return tensors | of_snapshot, loss, eta, before

    def thresholds(self, w, w_after, b, change):
        """Thresholds after the step, neuron by neuron."""
        if self.bias == "zero":
            return b
        if "trained" in self.bias:
            return b - change
        rule = self.bias["scheduled"]
        unit, after = np.sqrt(np.log(D) / D), b.copy()
        for i in range(M):
            old, new = np.linalg.norm(w[i]), np.linalg.norm(w_after[i])
            cap = rule["cap_ratio"] * unit * new
            if self.step == rule["start_step"]:
                after[i] = rule["initial_ratio"] * unit * new
            elif self.step > rule["start_step"]:
                kept = b[i] * new / old
                after[i] = min(max(b[i] * (1 + rule["growth"] / D), kept), cap) if b[i] < cap else kept
        return after

    def end_tensors(self):
        """The tensors at the end of the run."""
        w, b = self.encoder()
        tensors = {"dictionary": self.dictionary, "weights": w, "biases": b}
        tensors["initial_weights"] = (0.1 * self.rng.standard_normal((M, D1))).astype(F)
        tensors["target"] = self.rng.standard_normal(D).astype(F)
        for part in ("evaluation", "probe_train", "probe_test"):
            z, xi, x = self.observations(ROWS)
            tensors |= {f"{part}_z": z, f"{part}_xi": xi, f"{part}_x": x}
        del tensors["probe_train_xi"], tensors["probe_test_xi"]
        return tensors


def embed(w, b, x):
    """f(x) in 32-bit floats."""
    u = x @ w.T
    return np.where(u > b, u - b, 0) + np.where(-u > b, u + b, 0)


def loss_and_gradient(w, b, tensors, tau, factor):
    """Query by query, in 32-bit floats."""
    keys, negatives = embed(w, b, tensors["x_plus_plus"]), embed(w, b, tensors["negatives"])
    loss, gradient, gradient_b = F(0), np.zeros_like(w), np.zeros_like(b)
    for x, key in zip(tensors["x_plus"], keys):
        u = w @ x
        query = embed(w, b, x)
        candidates = np.vstack([key, negatives])
        e = np.exp(candidates @ query / tau)
        fraction = e / e.sum()
        loss += -factor * np.log(fraction[0]) / F(BATCH)
        fraction[0] -= 1
        in_query = factor / tau * (fraction @ candidates) / F(BATCH)
        gradient += np.outer(in_query * ((u > b) * F(1) + (-u > b) * F(1)), x)
        gradient_b += in_query * ((-u > b) * F(1) - (u > b) * F(1))
    return float(loss), gradient, gradient_b


# The measures of a run, in other words than in the check


def evaluation(spec, tensors):
    """What the run reports of its end."""
    dictionary, w, b = (tensors[k] for k in ("dictionary", "weights", "biases"))
    features = features_of(w.astype(float), dictionary.astype(float))
    chances = [features_of(np.random.default_rng(99 + i).standard_normal(w.shape), dictionary) for i in range(8)]
    chance = float(np.mean([c["coverage_mean"] for c in chances]))
    bias = spec["model"]["encoder"]["symmetric_relu"]["bias"]
    initial = bias["trained"]["initial"] if "trained" in bias else 0.0
    representations = {
        "input": lambda x: x,
        "oracle": lambda x: embed(dictionary.T, F(0.3), x),
        "untrained": lambda x: embed(tensors["initial_weights"], F(initial), x),
    }
    return {
        "features": features,
        "embeddings": embeddings(w, b, tensors),
        "incoherence": float(np.sqrt(D1) * np.abs(dictionary).max()),
        "chance_coverage": chance,
        "coverage_corrected": (features["coverage_mean"] - chance) / (1 - chance),
        "probe": score(tensors, lambda x: embed(w, b, x)),
        "baselines": {k: score(tensors, f) for k, f in representations.items()} | {"oracle_threshold": 0.3},
    }


def features_of(w, dictionary):
    """Measures of the weights, neuron by neuron."""
    cos = [[abs(float(m @ v)) / float(np.linalg.norm(v)) for m in dictionary.T] for v in w]
    members = [[j for j in range(D) if row[j] >= 0.25] for row in cos]
    singletons = [ms[0] for ms, row in zip(members, cos) if len(ms) == 1 and row[ms[0]] >= 0.9]
    covered = sorted(max(row[j] for row in cos) for j in range(D))
    return {
        "energy_in_span": sum(c * c for row in cos for c in row) / M,
        "coverage_mean": sum(covered) / D,
        "coverage_min": covered[0],
        "coverage_median": (covered[(D - 1) // 2] + covered[D // 2]) / 2,
        "coverage_max": covered[-1],
        "features_with_singleton": len(set(singletons)),
        "singleton_fraction": len(singletons) / M,
        "membership_histogram": [sum(len(ms) == k for ms in members) for k in range(D + 1)],
        "neurons_per_feature": [sum(j in ms for ms in members) for j in range(D)],
    }


def embeddings(w, b, tensors):
    """Measures of the embeddings, row by row."""
    z = tensors["evaluation_z"]
    parts = (tensors["evaluation_x"], z @ tensors["dictionary"].T, tensors["evaluation_xi"])
    f_x, f_mz, f_xi = (embed(w, b, x).astype(float) for x in parts)
    cosines, defined, both, rows = 0.0, 0, 0, 0
    for a, s, n, code in zip(f_x, f_mz, f_xi, z):
        both += a.any() and n.any()
        if code.any():
            rows += 1
            if a.any() and s.any():
                defined += 1
                cosines += a @ s / np.sqrt((a @ a) * (s @ s))
    return {
        "correlation_sparse": cosines / rows,
        "correlation_sparse_defined": defined / rows,
        "correlation_dense": (f_x * f_xi).sum() / np.sqrt((f_x**2).sum() * (f_xi**2).sum()),
        "correlation_dense_defined": both / ROWS,
        "active_fraction": np.count_nonzero(f_x) / f_x.size,
    }


def score(tensors, represent):
    """A probe by normal equations and by Newton's method."""
    train, test = (represent(tensors[f"probe_{part}_x"]).astype(float) for part in ("train", "test"))
    z, z_test = (tensors[f"probe_{part}_z"] for part in ("train", "test"))
    y, y_test = z @ tensors["target"], z_test @ tensors["target"]
    fit = ROWS - ROWS // 4
    best = max((10.0**-k for k in range(5, 0, -1)), key=lambda p: ridge(train[:fit], y[:fit], train[fit:], y[fit:], p))
    rows, rows_test = z.any(1), z_test.any(1)
    accuracy = newton(train[rows], y[rows] > 0, test[rows_test], y_test[rows_test] > 0)
    return {"r_squared": ridge(train, y, test, y_test, best), "accuracy": accuracy}


def scaled(train, test):
    """Standardised columns; those that do not vary become 0."""
    mean, deviation = train.mean(0), train.std(0)
    deviation[deviation == 0] = np.inf
    return (train - mean) / deviation, (test - mean) / deviation


def ridge(train, y, test, y_test, penalty):
    """R² of ridge regression."""
    a, a_test = scaled(train, test)
    beta = np.linalg.solve(a.T @ a / len(a) + penalty * np.eye(a.shape[1]), a.T @ (y - y.mean()) / len(a))
    rest = y_test - y.mean() - a_test @ beta
    return float(1 - (rest @ rest) / ((y_test - y_test.mean()) ** 2).sum())


def newton(train, label, test, label_test):
    """Accuracy of logistic regression with a unit penalty."""
    a, a_test = (np.column_stack([v, np.ones(len(v))]) for v in scaled(train, test))
    penalty = np.diag([1.0] * train.shape[1] + [0.0])
    beta = np.zeros(a.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-a @ beta))
        hessian = (a.T * (p * (1 - p))) @ a + penalty
        beta -= np.linalg.solve(hessian, a.T @ (p - label) + penalty @ beta)
    return float(np.mean((a_test @ beta > 0) == label_test))


# Files


def save(path, tensors):
    """Writes safetensors by hand."""
    header, body = {}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def make(transform=COMPLEMENTARY, bias=SCHEDULED, step=8, scale="temperature"):
    """The content of `run.json` and of both files of tensors."""
    maker = Maker(transform, bias, step, scale)
    tensors, loss, eta, before = maker.step_tensors()
    end = maker.end_tensors()
    reported = evaluation(maker.spec, end)
    run = {"spec": maker.spec, "seed": 7, "step": step, "loss": loss, "eta": eta, "snapshot": {}, "snapshot_before": before}
    return run | {"evaluation": reported}, tensors, end


def plain(run):
    """A copy that JSON can take."""
    return json.loads(json.dumps(run, default=float))


class CheckRun(unittest.TestCase):
    """Exit status and table."""

    @classmethod
    def setUpClass(cls):
        cls.made = make()

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        run, step, end = self.made
        self.run_json = plain(run)
        self.step = {k: v.copy() for k, v in step.items()}
        self.end = {k: v.copy() for k, v in end.items()}

    def status(self):
        """Writes the folder and checks it."""
        (self.folder / "run.json").write_text(json.dumps(self.run_json, default=float))
        save(self.folder / "step.safetensors", self.step)
        save(self.folder / "end.safetensors", self.end)
        return self.check()

    def check(self):
        """Exit status; what was printed is kept."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = check_run.main([str(self.folder)])
        self.printed, self.complaint = out.getvalue(), err.getvalue()
        return status

    def assert_accepted(self):
        """All agrees."""
        status = self.status()
        self.assertEqual(status, 0, self.printed + self.complaint)

    def assert_wrong(self, *names):
        """Just the lines that begin with these names are wrong."""
        status = self.status()
        self.assertEqual(status, 1, self.printed + self.complaint)
        wrong = [line for line in self.printed.splitlines() if line.endswith("WRONG")]
        for name in names:
            self.assertTrue(any(line.startswith(name) for line in wrong), f"{name}\n{self.printed}")
        self.assertTrue(all(line.startswith(names) for line in wrong), self.printed)

    def test_a_right_run_is_accepted(self):
        self.assert_accepted()
        self.assertNotIn("WRONG", self.printed)

    def test_other_transforms_and_thresholds_are_accepted(self):
        def masks(kind, p, fraction, rescaling):
            return [{kind: {"keep_probability": p, "masked_fraction": fraction, "rescaling": rescaling}}]

        for case in (
            ([], "zero", 8, "one"),
            (masks("complementary_mask", 0.3, 0.6, "unbiased"), {"trained": {"initial": 0.05}}, 1, "temperature"),
            (masks("independent_masks", 0.7, 0.5, "unbiased"), SCHEDULED, 5, "one"),
            (masks("independent_masks", 0.5, 1.0, "off"), SCHEDULED, 3, "temperature"),
        ):
            with self.subTest(case):
                self.run_json, self.step, self.end = make(*case)
                self.assert_accepted()

    def test_a_gradient_one_percent_off_is_wrong(self):
        # The update that was made from it is then wrong, too, unless it is made with it.
        w = self.step["weights_before"]
        self.step["gradient"] = self.step["gradient"] * F(1.01)
        self.assert_wrong("gradient", "weights after")
        self.step["weights_after"] = w - F(self.run_json["eta"]) * (self.step["gradient"] + F(0.01) * w)
        self.assert_wrong("gradient")

    def test_one_entry_of_the_gradient_one_percent_off_is_wrong(self):
        gradient = self.step["gradient"]
        gradient.flat[np.abs(gradient).argmax()] *= F(1.01)
        self.assert_wrong("gradient, worst entry", "gradient, norm", "weights after")

    def test_a_loss_one_in_a_thousand_off_is_wrong(self):
        self.run_json["loss"] *= 1.001
        self.assert_wrong("loss")

    def test_a_mask_entry_off_is_wrong(self):
        mask = self.step["mask_plus"]
        mask[3, 4] = 1 - mask[3, 4]
        # Now the coordinate is in both views or in neither.
        self.assert_wrong("coordinates in", "x_plus = mask")

    def test_a_view_that_is_not_rescaled_is_wrong(self):
        row = self.step["x_plus"][0]
        row /= 2
        status = self.status()
        self.assertEqual(status, 1)
        self.assertRegex(self.printed, r"x_plus = mask.*WRONG")

    def test_reported_measures_that_are_off_are_wrong(self):
        for path, change, name in (
            ("feature_rank", 0.01, "snapshot: feature_rank"),
            ("outputs.effective_rank", -0.01, "snapshot: effective_rank"),
            ("outputs.spread", 0.003, "snapshot: spread"),
            ("outputs.alignment", 0.003, "snapshot: alignment"),
            ("outputs.uniformity", -0.005, "snapshot: uniformity"),
            ("view_distances.features", 0.003, "snapshot: view distance of features"),
            ("view_distances.outputs", 0.003, "snapshot: view distance of outputs"),
            ("gradient_norm", 0.001, "snapshot: gradient_norm"),
            ("features.coverage_mean", 0.01, "coverage_"),
            ("features.singleton_fraction", 1 / M, "singleton_fraction"),
            ("features.energy_in_span", 1e-6, "energy_in_span"),
            ("embeddings.correlation_sparse", 0.002, "correlation_sparse"),
            ("embeddings.correlation_dense", -0.002, "correlation_dense"),
            ("embeddings.active_fraction", 0.001, "active_fraction"),
            ("incoherence", 1e-5, "incoherence"),
            ("probe.r_squared", 0.005, "probe: R²"),
            ("probe.accuracy", -0.03, "probe: accuracy"),
            ("baselines.input.r_squared", 0.005, "baselines input: R²"),
            ("baselines.oracle.r_squared", -0.005, "baselines oracle: R²"),
            ("baselines.untrained.accuracy", 0.03, "baselines untrained: accuracy"),
        ):
            with self.subTest(path):
                self.run_json = plain(self.made[0])
                *above, last = path.split(".")
                place = self.run_json["snapshot_before" if path in SIGNALS else "evaluation"]
                for key in above:
                    place = place[key]
                place[last] += change
                self.assert_wrong(name)

    def test_thresholds_and_data_that_are_off_are_wrong(self):
        self.step["biases_after"][2] *= F(1.0001)
        self.assert_wrong("thresholds after")
        self.step = {k: v.copy() for k, v in self.made[1].items()}
        self.step["xi"][0, 0] += F(1e-4)
        self.assert_wrong("x = M z + xi")

    def test_the_gradient_is_the_derivative_of_the_loss(self):
        rng = np.random.default_rng(1)
        w, b = rng.standard_normal((5, 9)), np.full(5, 0.4)
        x, keys, negatives = (rng.standard_normal((n, 9)) for n in (7, 7, 11))
        fixed = (check_run.embed(w, b, keys), check_run.embed(w, b, negatives), 0.6, 0.6)

        def found(w, b):
            query = check_run.embed(w, b, x)
            return query, check_run.contrast(query, *fixed)

        query, at = found(w, b)
        in_w, _ = check_run.back_through_encoder(at, query, b, x, check_run.slope)
        in_b, _ = check_run.back_through_encoder(at, query, b, np.ones((7, 1)), check_run.slope_in_threshold)
        step_w, step_b = 1e-6 * rng.standard_normal(w.shape), 1e-6 * rng.standard_normal(5)
        change = found(w + step_w, b + step_b)[1].loss - found(w - step_w, b - step_b)[1].loss
        self.assertAlmostEqual(change / 2e-6, ((in_w * step_w).sum() + in_b[:, 0] @ step_b) / 1e-6, places=6)

    def test_missing_or_damaged_files_are_named(self):
        self.assert_accepted()
        path = self.folder / "end.safetensors"
        data = path.read_bytes()
        for content in (data[:-4], data[:5], data[:20], b"\xff" * 8 + data[8:], b""):
            path.write_bytes(content)
            self.assertEqual(self.check(), 2)
            self.assertIn("end.safetensors", self.complaint)
        path.unlink()
        self.assertEqual(self.check(), 2)
        self.assertIn("cannot be read", self.complaint)
        del self.step["negatives"]
        self.assertEqual(self.status(), 2)
        self.assertIn("there is no tensor negatives", self.complaint)

    def test_runs_of_other_kinds_are_refused(self):
        for path, value, complaint in (
            ("data", {"images": {}}, "data is images; only sparse_coding is covered"),
            ("data.sparse_coding.negatives", "other_keys", "only fresh is covered"),
            ("data.sparse_coding.training_set_size", 100, "only fresh observations are covered"),
            ("views.transform", COMPLEMENTARY * 2, "views.transform is not a list of one transform at most"),
            ("views.transform", [{"rotation": {}}], "a transform rotation is not covered"),
            ("model.encoder", {"mlp": {}}, "only symmetric_relu is covered"),
            ("model.encoder.symmetric_relu.normalization", "batch", "only none is covered"),
            ("model.projector", {"hidden_dims": [8], "output_dim": 4}, "without a projector are covered"),
            ("objective", {"nt_xent": {"temperature": 0.5}}, "only info_nce is covered"),
            ("objective.info_nce.similarity", "cosine", "only inner_product is covered"),
            ("objective.info_nce.key_gradient", "flows", "only stopped is covered"),
            ("optimization.optimizer", {"adamw": {"weight_decay": 0.01}}, "only sgd is covered"),
            ("optimization.optimizer.sgd.momentum", 0.9, "only plain gradient descent is covered"),
            ("optimization.optimizer.sgd.nesterov", True, "only plain gradient descent is covered"),
            ("optimization.learning_rate", {"staircase": {}}, "a learning rate staircase is not covered"),
        ):
            with self.subTest(path):
                self.run_json = plain(self.made[0])
                *above, last = path.split(".")
                place = self.run_json["spec"]
                for key in above:
                    place = place[key]
                place[last] = value
                self.assertEqual(self.status(), 2, self.printed)
                self.assertIn(complaint, self.complaint)


class LearningRates(unittest.TestCase):
    """Learning rates as a function of the step."""

    def test_schedules_have_the_values_that_they_are_defined_by(self):
        decay = {"exponential_decay": {"first": 1.0, "decay_from": 100.0, "decay_to": 200.0, "last": 0.01}}
        cosine = {"warmup_cosine": {"peak": 2.0, "warmup": 10.0, "end": 110.0}}
        # A quarter of the way down: 1 + cos(π/4).
        quarter = 1 + 0.5**0.5
        for schedule, values in (
            ({"constant": {"rate": 0.3}}, {0: 0.3, 7: 0.3}),
            (decay, {0: 1.0, 100: 1.0, 150: 0.1, 200: 0.01, 999: 0.01}),
            (cosine, {0: 0.2, 4: 1.0, 9: 2.0, 10: 2.0, 35: quarter, 60: 1.0, 85: 2 - quarter, 110: 0.0, 999: 0.0}),
            ({"warmup_cosine": {"peak": 2.0, "warmup": 0.0, "end": 100.0}}, {0: 2.0, 50: 1.0}),
        ):
            for step, expected in values.items():
                with self.subTest((schedule, step)):
                    self.assertAlmostEqual(self.at(schedule, step), expected, places=12)

    def test_times_are_rounded_to_whole_steps(self):
        # 1.5 and 10 units of 19 steps: 28.5 and 190 steps, a half upwards.
        in_units = {"warmup_cosine": {"peak": 0.4, "warmup": 1.5, "end": 10.0}}
        in_steps = {"warmup_cosine": {"peak": 0.4, "warmup": 29.0, "end": 190.0}}
        for step in (0, 27, 28, 29, 100, 189, 190):
            self.assertEqual(self.at(in_units, step, 19), self.at(in_steps, step))

    def test_an_end_that_is_not_behind_the_beginning_is_refused(self):
        with self.assertRaisesRegex(reading.Unreadable, "from step 5 to step 5, which is not later"):
            self.at({"warmup_cosine": {"peak": 0.4, "warmup": 5.2, "end": 5.4}}, 8)

    def at(self, schedule, step, steps_per_unit=1):
        """The learning rate at a step."""
        return reading.learning_rate({"optimization": {"learning_rate": schedule}}, step, steps_per_unit)


if __name__ == "__main__":
    unittest.main()
