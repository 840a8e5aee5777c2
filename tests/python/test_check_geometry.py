"""`check_geometry.py` accepts a run made by another implementation, and no other numbers.

    python test_check_geometry.py
"""

import itertools
import json
import math
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
from sklearn.kernel_ridge import KernelRidge

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
from check_geometry import PENALTIES, SQUARED_WIDTHS, check_run  # noqa: E402
from making_runs import paths, rounded, save, unnoticed, write  # noqa: E402
from making_signals import rank, view_distance  # noqa: E402
from reading import Unreadable  # noqa: E402

SAMPLES, FREQUENCIES, CODE, SIGNALS, DECODED = 12, 2, 3, 16, 64
NOISE = 0.1


def signal(coefficients, phase):
    """Sample by sample."""
    times = [2 * math.pi * k / SAMPLES - phase for k in range(SAMPLES)]
    waves = ((a * math.cos(f * t) + b * math.sin(f * t) for f, (a, b) in enumerate(zip(coefficients[::2], coefficients[1::2]), 1)) for t in times)
    return [sum(of_time) for of_time in waves]


def decoded(train, y, test, truth, kernel):
    """By scikit-learn."""
    fitted = len(train) * 3 // 4

    def predictions(count, inputs, width, penalty):
        mean = train[:count].mean(0)
        scale = math.sqrt(((train[:count] - mean) ** 2).sum(1).mean())
        options = {"kernel": "linear"} if kernel == "linear" else {"kernel": "rbf", "gamma": 1 / (4 * width)}
        model = KernelRidge(alpha=penalty * count, **options)
        centre = y[:count].mean(0)
        return centre + model.fit((train[:count] - mean) / scale, y[:count] - centre).predict((inputs - mean) / scale)

    def score(predicted, y):
        return 1 - ((predicted - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()

    choices = list(itertools.product([None] if kernel == "linear" else SQUARED_WIDTHS, PENALTIES))
    best = max(choices, key=lambda c: score(predictions(fitted, train[fitted:], *c), y[fitted:]))
    return float(score(predictions(len(train), test, *best), truth))


def make(folder, with_projector):
    """A run: files and what is reported."""
    rng = np.random.default_rng(3)
    mean, directions = rounded(rng.normal(size=2 * FREQUENCIES)), rounded(rng.normal(size=(CODE, 2 * FREQUENCIES)) / 2)
    weights = {}
    for name, inputs, outputs in [("encoder.layers.0", SAMPLES, 8), ("encoder.layers.1", 8, 6), ("projector.hidden.0", 6, 7), ("projector.output", 7, 4)]:
        if with_projector or name.startswith("encoder"):
            weights[f"{name}.weight"] = rounded(rng.normal(size=(inputs, outputs)) / math.sqrt(inputs))
            weights[f"{name}.bias"] = rounded(rng.normal(size=outputs) / 4)

    def layer(x, name):
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def encode(x):
        return np.maximum(layer(np.maximum(layer(x, "encoder.layers.0"), 0), "encoder.layers.1"), 0)

    def project(h):
        return layer(np.maximum(layer(h, "projector.hidden.0"), 0), "projector.output") if with_projector else h

    def draw(count):
        codes, phases = rounded(rng.uniform(-1, 1, (count, CODE))), rounded(rng.uniform(-math.pi, math.pi, (count, 1)))
        views = np.array([signal(mean + z @ directions, p[0]) for z, p in zip(codes, phases)])
        return codes, phases, rounded(views + NOISE * rng.normal(size=views.shape))

    codes, phases, first = draw(SIGNALS)
    second_phases = rounded(rng.uniform(-math.pi, math.pi, (SIGNALS, 1)))
    second = rounded(np.array([signal(mean + z @ directions, p[0]) for z, p in zip(codes, second_phases)]) + NOISE * rng.normal(size=first.shape))
    step = 1e-4
    moved = [np.array([signal(mean + z @ directions, p[0] + by) for z, p in zip(codes, phases)]) for by in (step, -step)]
    tangents = {
        "code_tangents": rounded([signal(directions[i % CODE], p[0]) for i, p in enumerate(phases)]),
        "phase_tangents": rounded((moved[0] - moved[1]) / (2 * step)),
        "random_directions": rounded(rng.normal(size=first.shape)),
    }
    fitted, scored = draw(DECODED), draw(DECODED)
    tensors = {
        "mean_coefficients": mean[None], "coefficient_directions": directions, "codes": codes, "first_phases": phases, "second_phases": second_phases,
        "first_views": first, "second_views": second, **tangents,
    }
    for part, (z, p, x) in [("fitted", fitted), ("scored", scored)]:
        tensors |= {f"decoder_codes_{part}": z, f"decoder_phases_{part}": p, f"decoder_views_{part}": x}

    def stage(represent):
        views = [represent(first), represent(second)]
        train, test = represent(fitted[2]), represent(scored[2])
        y, truth = [np.hstack([np.cos(p), np.sin(p)]) for _, p, _ in (fitted, scored)]
        values = np.sqrt(np.clip(np.linalg.eigvalsh(views[0].T @ views[0]), 0, None))[::-1]
        return {
            "view_distance": view_distance(*views), "effective_rank": rank(views[0]), "spectrum": list(values / values.sum()),
            "phase_r_squared": decoded(train, y, test, truth, "linear"), "phase_kernel_r_squared": decoded(train, y, test, truth, "gaussian"),
            "code_r_squared": decoded(train, fitted[0], test, scored[0], "linear"),
        }

    def gains(map_, points, directions):
        # So small a step that no ReLU is crossed.
        derivatives = {key: (map_(points + 1e-7 * u) - map_(points - 1e-7 * u)) / 2e-7 for key, u in directions.items()}
        found = {}
        for key, u in directions.items():
            rows = [(a @ a, b @ b) for a, b in zip(u, derivatives[key]) if a @ a > 0]
            found[key] = sum(b / a for a, b in rows) / len(rows)
        return {**found, "code_over_phase": found["code"] / found["phase"]}, derivatives

    named = dict(zip(("code", "phase", "random"), tangents.values()))
    encoder_gain, through = gains(encode, first, named)
    features, outputs = stage(encode), stage(lambda x: project(encode(x)))
    reported = {
        "input_view_distance": view_distance(first, second), "features": features, "outputs": outputs,
        "outputs_over_features": outputs["view_distance"] / features["view_distance"],
        "encoder_invariance": 1 - features["view_distance"] / view_distance(first, second),
        "rank_ratio": outputs["effective_rank"] / features["effective_rank"],
        "encoder_gain": encoder_gain, "projector_gain": gains(project, encode(first), through)[0],
    }
    data = {"input_dim": SAMPLES, "frequencies": FREQUENCIES, "code_dim": CODE, "noise_std": NOISE}
    spec = {"data": {"circular_signals": data}, "model": {"encoder": {"mlp": {"layer_dims": [8, 6]}}}}
    if with_projector:
        spec["model"]["projector"] = {"hidden_dims": [7], "output_dim": 4}
    save(folder / "geometry.safetensors", tensors)
    save(folder / "model.safetensors", weights)
    write(folder, "spec.json", {"spec": spec})
    write(folder, "evaluation.json", reported)
    return reported


class CheckGeometry(unittest.TestCase):
    """Against the run above."""

    def wrong(self, folder):
        return [row.name for row in check_run(folder).rows if not row.agrees]

    def test_agrees_with_another_implementation(self):
        for with_projector in (True, False):
            with tempfile.TemporaryDirectory() as name:
                make(Path(name), with_projector)
                self.assertEqual(self.wrong(Path(name)), [])

    def test_every_number_is_looked_at(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            reported = make(folder, True)
            self.assertGreater(len(list(paths(reported))), 25)
            self.assertEqual(unnoticed(folder, reported, self.wrong, 1.3), [])

    def test_what_is_not_covered_is_said(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, True)
            spec = json.loads((folder / "spec.json").read_text())
            spec["spec"]["model"]["projector"]["normalization"] = "batch"
            write(folder, "spec.json", spec)
            with self.assertRaisesRegex(Unreadable, "normalisation"):
                check_run(folder)


if __name__ == "__main__":
    unittest.main()
