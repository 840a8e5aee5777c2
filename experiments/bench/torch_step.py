#!/usr/bin/env python3
"""The same training step as a user of PyTorch would write it, timed; prints one JSON line.

Fresh observations, complementary views, a fresh batch of negatives, InfoNCE on inner products without a gradient through
keys, plain SGD with weight decay, and the rule that grows the thresholds, all vectorised.

    torch_step.py --code-dim 32 --input-dim 256 --neurons 64 --batch 256 --steps 2050

Needs torch.
"""

import argparse
import json
import math
import time

import torch

WARM_UP = 50  # steps before the clock starts

arguments = argparse.ArgumentParser()
arguments.add_argument("--code-dim", type=int, required=True)
arguments.add_argument("--input-dim", type=int, required=True)
arguments.add_argument("--neurons", type=int, required=True)
arguments.add_argument("--batch", type=int, required=True, help="positive pairs, and as many negatives")
arguments.add_argument("--steps", type=int, required=True, help="in all; the first 50 are not timed")
arguments.add_argument("--noise-std", type=float, required=True)
arguments.add_argument("--step-size", type=float, required=True)
arguments.add_argument("--cap-ratio", type=float, required=True)
arguments.add_argument("--seed", type=int, default=0)
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--device", default="cpu")
arguments.add_argument("--compile", action="store_true")
given = arguments.parse_args()

WEIGHT_DECAY, START_STEP, INITIAL_RATIO, GROWTH = 0.001, 150, 0.6, 0.02
d, d1, m, b = given.code_dim, given.input_dim, given.neurons, given.batch
eta, device = given.step_size, torch.device(given.device)
torch.set_num_threads(given.threads)
torch.manual_seed(given.seed)
unit = math.sqrt(math.log(d) / d)
present = max(math.log(math.log(d)), 1.0) / d

features = torch.linalg.qr(torch.randn(d1, d))[0].t().contiguous().to(device)  # [d, d1]
weights = (torch.randn(m, d1) * 0.1 / math.sqrt(d1)).to(device).requires_grad_()
thresholds = torch.zeros(m, device=device)


def observations():
    draw = torch.rand(b, d, device=device)
    z = torch.where(draw < present / 2, 1.0, torch.where(draw < present, -1.0, 0.0))
    return torch.addmm(torch.randn(b, d1, device=device), z, features, beta=given.noise_std)


def embed(x, w, t):
    h = torch.nn.functional.linear(x, w)
    return torch.relu(h - t) - torch.relu(-h - t)


def info_nce(w, t, query_view, key_view, negatives):
    queries = embed(query_view, w, t)
    with torch.no_grad():
        keys, others = embed(key_view, w, t), embed(negatives, w, t)
    positives = (queries * keys).sum(1)
    logits = torch.cat([positives.unsqueeze(1), queries @ others.t()], 1)
    return (torch.logsumexp(logits, 1) - positives).mean()


if given.compile:
    info_nce = torch.compile(info_nce)


def step(t):
    global thresholds
    x = 2.0 * observations()
    mask = torch.rand(b, d1, device=device) < 0.5
    loss = info_nce(weights, thresholds, x * mask, x * ~mask, observations())
    (gradient,) = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        before = torch.linalg.vector_norm(weights, dim=1)
        weights.mul_(1.0 - eta * WEIGHT_DECAY).add_(gradient, alpha=-eta)
        after = torch.linalg.vector_norm(weights, dim=1)
        if t == START_STEP:
            thresholds = INITIAL_RATIO * unit * after
        elif t > START_STEP:
            cap, kept = given.cap_ratio * unit * after, thresholds * after / before
            grown = torch.minimum(torch.maximum(thresholds * (1.0 + GROWTH / d), kept), cap)
            thresholds = torch.where(thresholds < cap, grown, kept)


def finish():
    if device.type == "cuda":
        torch.cuda.synchronize()


for t in range(WARM_UP):
    step(t)
finish()
started = time.perf_counter()
for t in range(WARM_UP, given.steps):
    step(t)
finish()
seconds = time.perf_counter() - started
with torch.no_grad():
    along = weights @ features.t()
    norms = torch.linalg.vector_norm(weights, dim=1, keepdim=True)
    print(json.dumps({
        "steps_per_second": (given.steps - WARM_UP) / seconds,
        "energy_in_span": ((along / norms) ** 2).sum(1).mean().item(),
        "coverage_mean": (along.abs() / norms).max(0).values.mean().item(),
    }))
