"""Objectives of two views in PyTorch; writes objectives.json, which tests/objectives.rs reads.

torch 2.15.0, lightly 1.6.0; run with `python objectives.py` in this folder. Outputs are single-precision numbers that a hash of
(tensor, position) gives; the arithmetic is in double precision. Where lightly has the loss its value is stored too, with the
factor between the two definitions.
"""

import json

import numpy as np
import torch
from lightly.loss import BarlowTwinsLoss, DCLLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from noise import noise
from torch.nn import functional as F

BATCH, WIDTH = 24, 6


def outputs():
    """Two views that have something in common."""
    parts = [torch.from_numpy(noise(t, BATCH * WIDTH).reshape(BATCH, WIDTH)).double() for t in (1, 2, 3)]
    return [(2 * parts[0] + part).requires_grad_() for part in parts[1:]]


def off_diagonal(matrix):
    return matrix - torch.diag(torch.diagonal(matrix))


def spectral(f, g):
    products = f @ g.T
    return -2 * products.diagonal().mean() + off_diagonal(products).square().sum() / (BATCH * (BATCH - 1))


def barlow_twins(f, g, a, epsilon):
    f, g = (F.batch_norm(v, None, None, training=True, eps=epsilon) for v in (f, g))
    c = f.T @ g / BATCH
    return ((c.diagonal() - 1).square().sum() + a * off_diagonal(c).square().sum()) / WIDTH


def vicreg(f, g, weights, epsilon):
    invariance, variance, covariance = weights
    loss = invariance * F.mse_loss(f, g)
    for v in (f, g):
        loss = loss + variance / 2 * F.relu(1 - (v.var(0) + epsilon).sqrt()).mean()
        loss = loss + covariance / 2 * off_diagonal(torch.cov(v.T)).square().sum() / WIDTH
    return loss


def negative_cosine(f, g, epsilon):
    f, g = (v / (v.square().sum(1, keepdim=True) + epsilon).sqrt() for v in (f, g))
    return -((f * g.detach()).sum(1).mean() + (g * f.detach()).sum(1).mean()) / 2


def predicted_cosine(f, g, epsilon):
    """Of predictions f, g with targets that are not predictions."""
    of_first, of_second = (torch.from_numpy(noise(t, BATCH * WIDTH).reshape(BATCH, WIDTH)).double() for t in (4, 5))
    pairs = [(f, of_second), (g, of_first)]
    return -sum(F.cosine_similarity(p, t, eps=epsilon).mean() for p, t in pairs) / 2


def masked_reconstruction(decoded, view, scale):
    """Of what was decoded from the first view, where the second one shows something."""
    view = view.detach()
    view = torch.where(view > 0, view, 0.0)
    return (torch.where(view > 0, scale * decoded - view, 0.0)).square().sum(1).mean() / 2


def nt_xent(f, g, temperature, decoupled):
    views = F.normalize(torch.cat([f, g]))
    logits = views @ views.T / temperature
    positives = torch.cat([logits.diagonal(BATCH), logits.diagonal(-BATCH)])
    left_out = torch.eye(2 * BATCH, dtype=torch.bool)
    if decoupled:
        left_out |= left_out.roll(BATCH, 0)
    return (torch.logsumexp(logits.masked_fill(left_out, -torch.inf), 1) - positives).mean()


def alignment_uniformity(f, g, weight, exponent):
    f, g = F.normalize(f), F.normalize(g)
    spread = sum((torch.pdist(v).square() * -exponent).exp().mean().log() for v in (f, g)) / 2
    return (f - g).square().sum(1).mean() + weight * spread


# Name, loss, lightly's loss, and lightly's value over ours.
OBJECTIVES = [
    ("spectral", spectral, None, 1),
    ("barlow_twins", lambda f, g: barlow_twins(f, g, 0.05, 1e-5), BarlowTwinsLoss(lambda_param=0.05), WIDTH),
    (
        "vicreg",
        lambda f, g: vicreg(f, g, (25, 25, 2), 1e-4),
        VICRegLoss(lambda_param=25, mu_param=25, nu_param=1, eps=1e-4),
        1,
    ),
    ("negative_cosine", lambda f, g: negative_cosine(f, g, 1e-12), NegativeCosineSimilarity(), 1),
    ("predicted_cosine", lambda f, g: predicted_cosine(f, g, 1e-12), None, 1),
    ("masked_reconstruction", lambda f, g: masked_reconstruction(f, g, 2.0), None, 1),
    ("nt_xent", lambda f, g: nt_xent(f, g, 0.5, False), NTXentLoss(temperature=0.5), 1),
    ("decoupled_nt_xent", lambda f, g: nt_xent(f, g, 0.5, True), DCLLoss(temperature=0.5), 1),
    ("alignment_uniformity", lambda f, g: alignment_uniformity(f, g, 0.7, 2), None, 1),
]


def main():
    found = {}
    for name, loss, lightly, factor in OBJECTIVES:
        f, g = outputs()
        value = loss(f, g)
        value.backward()
        gradients = [torch.zeros_like(v) if v.grad is None else v.grad for v in (f, g)]
        found[name] = {"loss": value.item(), "gradient": torch.cat(gradients).flatten().tolist()}
        if lightly is not None:
            theirs = lightly(*[v.detach() for v in (f, g)]).item()
            found[name] |= {"lightly": theirs, "lightly_over_ours": factor}
            print(f"{name:24} {value.item():12.8f}  lightly {theirs:12.8f}  {theirs / value.item() / factor - 1:.1e}")
    with open("objectives.json", "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items()) + "\n}\n")


if __name__ == "__main__":
    main()
