"""Fits the numbers of `weight_decay_law` to the runs at d = 32 (points `fit-…`, made by `reproduce weight-decay-law --full`).

    python3 experiments/weight-decay-law/fit.py runs/weight-decay-law

Coverage of the two seeds is averaged, at steps 2,000 to 6,000; least squares. Needs numpy and scipy."""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

STEPS = (2000, 3000, 4000, 5000, 6000)


def rows(folder):
    """(q/σ², λ, step, mean coverage) of every fitted point; η = 1."""
    for point in sorted(Path(folder).glob("fit-*")):
        seeds = sorted(point.glob("seed-*"))
        spec = json.loads((seeds[0] / "spec.json").read_text())
        spec = spec.get("spec", spec)
        data = spec["data"]["sparse_coding"]
        d = data["code_dim"]
        q = max(np.log(np.log(d)), 1) / d
        decay = spec["optimization"]["optimizer"]["sgd"]["weight_decay"]
        lines = [[json.loads(line) for line in open(seed / "metrics.jsonl")] for seed in seeds]
        coverage = [{line["step"]: line["coverage_mean"] for line in of_seed} for of_seed in lines]
        for step in STEPS:
            yield q / data["noise_std"] ** 2, decay, step, np.mean([c[step] for c in coverage])


def law(numbers, ratio, decay, step):
    delay, exponent, plateau, plateau_exponent, takeover, width = numbers
    y = decay * ratio / (ratio + 1) * ratio**exponent * np.maximum(step - delay, 0)
    p = plateau * ratio**plateau_exponent
    return p + (1 - p) / (1 + np.exp(-(y - takeover) / width))


def main():
    ratio, decay, step, coverage = np.array(list(rows(sys.argv[1]))).T
    first = np.array([430, 1.0, 0.36, 0.28, 1.6, 0.3])
    fit = least_squares(lambda n: law(n, ratio, decay, step) - coverage, first, x_scale=first)
    names = ["delay", "exponent", "plateau", "plateau_exponent", "takeover", "width"]
    for name, value in zip(names, fit.x):
        print(f"{name} = {value:.3f}")
    off = np.abs(fit.fun)
    print(f"{len(off)} values, off by {off.mean():.3f} on average, {off.max():.3f} at most; {np.mean(off <= 0.1):.0%} by 0.1 or less")


if __name__ == "__main__":
    main()
