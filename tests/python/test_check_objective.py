"""`check_objective.py` accepts steps made by another implementation in 32-bit floats, and no other numbers.

    python test_check_objective.py
"""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import check_objective  # noqa: E402
import making_signals  # noqa: E402
import reading  # noqa: E402

B, D1, M = 32, 20, 6
F = np.float32
ETA, DECAY = 0.25, 0.01


def embed(w, b, x):
    """f(x) and its derivative with respect to ⟨w, x⟩."""
    u = x @ w.T
    return np.where(u > b, u - b, 0) + np.where(-u > b, u + b, 0), (np.abs(u) > b).astype(w.dtype)


class Maker:
    """Makes the files of one step."""

    def __init__(self, objective, clip=None, stop=True, momentum=None, turned=None):
        rng = np.random.default_rng(3)
        normal = lambda *shape: rng.standard_normal(shape).astype(F)  # noqa: E731
        common = normal(B, D1)
        self.views = [common + F(0.5) * normal(B, D1) for _ in range(2)]
        self.w, self.b = F(0.3) * normal(M, D1), np.full(M, 0.2, F)
        self.p = (np.eye(M) + 0.1 * rng.standard_normal((M, M))).astype(F)
        self.copy = (F(0.3) * normal(M, D1), np.full(M, 0.1, F))
        self.queue = normal(4 * B, M)
        self.objective, self.clip, self.stop, self.momentum = objective, clip, stop, momentum
        # An output of the first view whose derivative is taken on the other side of its kink.
        self.turned = turned

    def spectral(self):
        """−2 mean ⟨f, g⟩ + mean over i ≠ j of ⟨f_i, g_j⟩²: loss and gradient of the weights."""
        (f, df), (g, dg) = (embed(self.w, self.b, x) for x in self.views)
        products = f @ g.T
        if self.turned is not None:
            df[self.turned] = 1 - df[self.turned]
        others = products - np.diag(np.diagonal(products))
        loss = -2 * np.trace(products) / B + (others**2).sum() / (B * (B - 1))
        in_f = -2 * g / B + 2 * others @ g / (B * (B - 1))
        in_g = -2 * f / B + 2 * others.T @ f / (B * (B - 1))
        gradient = (in_f * df).T @ self.views[0] + (in_g * dg).T @ self.views[1]
        return loss, [gradient]

    def negative_cosine(self):
        """With a linear predictor: loss, gradients of the weights and of the matrix."""
        (f, df), (g, dg) = (embed(self.w, self.b, x) for x in self.views)
        own = [f, g] if self.momentum is None else [embed(*self.copy, x)[0] for x in self.views]
        lengths = lambda v: np.sqrt((v * v).sum(1, keepdims=True) + F(1e-4))  # noqa: E731
        loss, into, in_matrix = 0.0, [np.zeros_like(f), np.zeros_like(g)], np.zeros_like(self.p)
        for k, (v, target) in enumerate(zip((f, g), own[::-1])):
            q = v @ self.p.T
            q_length, t_length = lengths(q), lengths(target)
            cosine = (q * target).sum(1, keepdims=True) / (q_length * t_length)
            loss -= float(cosine.mean()) / 2
            of_q = -(target / t_length - cosine * q / q_length) / q_length / (2 * B)
            into[k] += of_q @ self.p
            in_matrix += of_q.T @ v
            if not self.stop:
                into[1 - k] += -(q / q_length - cosine * target / t_length) / t_length / (2 * B)
        gradient = (into[0] * df).T @ self.views[0] + (into[1] * dg).T @ self.views[1]
        return loss, [gradient, in_matrix]

    def moco(self):
        """Inner products with the copy's key and with a queue, temperature 0.7: loss and gradient of the weights."""
        f, df = embed(self.w, self.b, self.views[0])
        loss, gradient = 0.0, np.zeros_like(self.w)
        for row, slope, key, x in zip(f, df, embed(*self.copy, self.views[1])[0], self.views[0]):
            candidates = np.vstack([key, self.queue])
            e = np.exp(candidates @ row / F(0.7))
            loss -= float(np.log(e[0] / e.sum())) / B
            gradient += np.outer((e @ candidates / e.sum() - key) * slope / F(0.7) / F(B), x)
        return loss, [gradient]

    def write(self, folder, change=None):
        """`run.json` and `step.safetensors`, with a change of tensors and run."""
        with_head = self.objective == "negative_cosine"
        loss, gradients = getattr(self, self.objective)()
        length = np.sqrt(sum((g**2).sum() for g in gradients))
        held_out = [view[::-1] + view for view in self.views]
        own = lambda x: embed(self.w, self.b, x)[0]  # noqa: E731
        before, of_snapshot = making_signals.snapshot(own, self.views[0] * F(2), held_out, gradients)
        factor = 1.0 if self.clip is None else min(1.0, self.clip / length)
        gradients = [(factor * g).astype(F) for g in gradients]
        after = self.w - F(ETA) * (gradients[0] + F(DECAY) * self.w)
        tensors = {"x_plus": self.views[0], "x_plus_plus": self.views[1], "weights_before": self.w, "biases_before": self.b}
        tensors |= {"gradient": gradients[0], "weights_after": after, "biases_after": self.b}
        optimization = {
            "optimizer": {"sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": DECAY}},
            "learning_rate": {"constant": {"rate": ETA}},
        }
        if self.clip is not None:
            optimization["gradient_clip"] = self.clip
        encoder = {"symmetric_relu": {"bias": "zero"}}
        spec = {"model": {"encoder": encoder}, "optimization": optimization, "objective": "spectral"}
        if with_head:
            spec["objective"] = {"negative_cosine": {"stop_gradient": self.stop}}
            spec["model"]["predictor"] = {"network": "linear", "learning_rate_factor": 2.0, "weight_decay": 0.1}
            matrix = self.p - F(2 * ETA) * (gradients[1] + F(0.1) * self.p)
            tensors |= {"predictor_before": self.p, "predictor_gradient": gradients[1], "predictor_after": matrix}
        if self.momentum is not None:
            spec["model"]["momentum_copy"] = {"momentum": self.momentum}
            follow = lambda old, new: F(self.momentum) * old + F(1 - self.momentum) * new  # noqa: E731
            tensors |= {"copy_weights_before": self.copy[0], "copy_biases_before": self.copy[1]}
            tensors |= {
                "copy_weights_after": follow(self.copy[0], after),
                "copy_biases_after": follow(self.copy[1], self.b),
            }
        tensors |= of_snapshot
        if self.objective == "moco":
            fields = {"similarity": "inner_product", "key_gradient": "stopped", "temperature": 0.7, "scale": "one"}
            spec["objective"] = {"info_nce": fields}
            # Step 5 fills the second of four places.
            queue = np.vstack([self.queue[:B], embed(*self.copy, self.views[1])[0], self.queue[2 * B :]])
            tensors |= {"queue_before": self.queue, "queue_after": queue}
        run = {"spec": spec, "step": 5, "loss": float(loss), "eta": ETA, "snapshot_before": before}
        if change:
            change(tensors, run)
        (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
        write_safetensors(folder / "step.safetensors", tensors)


def write_safetensors(path, tensors):
    """Name to array, in 32-bit floats."""
    header, body = {}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(np.shape(array)), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


MAKERS = {
    "spectral": lambda: Maker("spectral"),
    "spectral, clipped": lambda: Maker("spectral", clip=0.05),
    "SimSiam": lambda: Maker("negative_cosine"),
    "SimSiam, clipped": lambda: Maker("negative_cosine", clip=0.01),
    "SimSiam without stop-gradient": lambda: Maker("negative_cosine", stop=False),
    "BYOL": lambda: Maker("negative_cosine", momentum=0.9),
    "MoCo": lambda: Maker("moco", momentum=0.9),
}


def status(maker, change=None):
    """The exit status of the check, and what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        maker.write(Path(folder), change)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            found = reading.print_check("check_objective.py", check_objective.check, [folder])
        return found, out.getvalue()


class Checks(unittest.TestCase):
    """Steps as they are, and with one number changed."""

    def test_other_implementations_agree(self):
        """Every kind of step."""
        for name, maker in MAKERS.items():
            with self.subTest(name):
                found, text = status(maker())
                self.assertEqual(found, 0, text)

    def test_wrong_numbers_are_found(self):
        """One change at a time, in the rows that are about it."""

        def scaled(name, factor):
            return lambda tensors, run: tensors.update({name: F(factor) * tensors[name]})

        def shifted(key):
            def change(tensors, run):
                run["snapshot_before"]["outputs"][key] += 0.01

            return change

        def stale(tensors, run):
            tensors["queue_after"] = tensors["queue_before"]

        def turned(tensors, run):
            tensors["gradient"] = tensors["gradient"][:, ::-1]

        rank = lambda tensors, run: run["snapshot_before"].update(feature_rank=run["snapshot_before"]["feature_rank"] + 0.01)  # noqa: E731
        norm = lambda tensors, run: run["snapshot_before"].update(gradient_norm=1.01 * run["snapshot_before"]["gradient_norm"])  # noqa: E731
        # What the row begins with that has to find the change.
        changes = {
            "gradient": (scaled("gradient", 1.02), "gradient of the weights along"),
            "gradient turned": (turned, "gradient of the weights along"),
            "weights": (scaled("weights_after", 1.0001), "weights after"),
            "loss": (lambda tensors, run: run.update(loss=run["loss"] + 1e-3), "loss of the step"),
            "rate": (lambda tensors, run: run.update(eta=0.2), "learning rate"),
            "rank": (rank, "snapshot: feature_rank"),
            "norm": (norm, "snapshot: gradient_norm"),
        }
        changes |= {key: (shifted(key), f"snapshot: {key}") for key in ("effective_rank", "spread", "alignment", "uniformity")}
        with_head = {
            "predictor's gradient": (scaled("predictor_gradient", 1.02), "gradient of the predictor along"),
            "predictor": (scaled("predictor_after", 1.0001), "predictor after"),
        }
        with_copy = {
            "copy": (scaled("copy_weights_after", 1.0001), "copy weights after"),
            "copy's thresholds": (scaled("copy_biases_after", 1.0001), "copy biases after"),
        }
        with_queue = {"queue": (scaled("queue_after", 1.01), "queue after"), "keys": (stale, "queue after")}
        for name, maker in MAKERS.items():
            all_changes = changes | (with_head if name[0] in "SB" and name[1] != "p" else {})
            all_changes |= with_copy if name in ("BYOL", "MoCo") else {}
            all_changes |= with_queue if name == "MoCo" else {}
            for what, (change, row) in all_changes.items():
                with self.subTest(f"{name}: {what}"):
                    found, text = status(maker(), change)
                    self.assertEqual(found, 1, text)
                    wrong = [line for line in text.splitlines() if line.startswith(row) and line.endswith("WRONG")]
                    self.assertTrue(wrong, text)

    def test_an_output_at_a_kink_has_the_derivative_of_either_side(self):
        """As rounding decides; no other output has a choice."""

        def at_a_kink(turned):
            maker = Maker("spectral", turned=turned)
            maker.b[0] = abs(maker.views[0][0] @ maker.w[0])
            return maker

        cases = {
            "one side of a kink": (at_a_kink(None), 0, 1),
            "its other side": (at_a_kink((0, 0)), 0, 1),
            "the wrong side elsewhere": (Maker("spectral", turned=(1, 0)), 1, 0),
        }
        for name, (maker, expected, doubtful) in cases.items():
            with self.subTest(name):
                found, text = status(maker)
                self.assertEqual(found, expected, text)
                row = next(line for line in text.splitlines() if line.startswith("inputs within rounding of a kink"))
                self.assertEqual(float(row.split()[6]), doubtful, row)

    def test_what_is_not_covered_is_refused(self):
        """Other objectives, other predictors, damaged files."""

        def other(tensors, run):
            run["spec"]["objective"] = {"info_nce": {}}

        def mlp(tensors, run):
            run["spec"]["model"]["predictor"]["network"] = {"mlp": {"hidden_dims": [4]}}

        def trained(tensors, run):
            run["spec"]["model"]["encoder"]["symmetric_relu"]["bias"] = {"trained": {"initial": 0.1}}

        def missing(tensors, run):
            del tensors["gradient"]

        for maker, change in (("spectral", other), ("SimSiam", mlp), ("spectral", trained), ("spectral", missing)):
            found, text = status(MAKERS[maker](), change)
            self.assertEqual(found, 2, text)


if __name__ == "__main__":
    unittest.main()
