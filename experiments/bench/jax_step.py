#!/usr/bin/env python3
"""The same training step as a user of JAX would write it, timed; prints one JSON line.

All steps are one compiled loop over a donated state, whose compilation is not timed. With --seeds the same loop trains several seeds at
once, through vmap. As JAX takes as many threads as it may run on, --threads fixes those.

    jax_step.py --code-dim 32 --input-dim 256 --neurons 64 --batch 256 --steps 2050 --noise-std 0.24128 --step-size 1 --cap-ratio 1.7

Needs jax.
"""

import argparse
import functools
import json
import math
import os
import time

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
arguments.add_argument("--seeds", type=int, default=1, help="seeds trained at once")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--prng", default="threefry2x32", help="or rbg, unsafe_rbg")
arguments.add_argument("--loop", choices=["whole", "step"], default="whole", help="one compiled loop, or a compiled step that Python calls")
given = arguments.parse_args()

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

jax.config.update("jax_default_prng_impl", given.prng)
WEIGHT_DECAY, START_STEP, INITIAL_RATIO, GROWTH = 0.001, 150, 0.6, 0.02
d, d1, m, b, eta = given.code_dim, given.input_dim, given.neurons, given.batch, given.step_size
unit = math.sqrt(math.log(d) / d)
present = max(math.log(math.log(d)), 1.0) / d


def begin(seed):
    of_features, of_weights, rest = jax.random.split(jax.random.key(seed), 3)
    features = jnp.linalg.qr(jax.random.normal(of_features, (d1, d)))[0].T
    weights = jax.random.normal(of_weights, (m, d1)) * 0.1 / math.sqrt(d1)
    return {"features": features, "weights": weights, "thresholds": jnp.zeros(m), "random": rest}


def observations(features, key):
    of_codes, of_noise = jax.random.split(key)
    draw = jax.random.uniform(of_codes, (b, d))
    z = jnp.where(draw < present / 2, 1.0, jnp.where(draw < present, -1.0, 0.0))
    return z @ features + given.noise_std * jax.random.normal(of_noise, (b, d1))


def embed(x, weights, thresholds):
    h = x @ weights.T
    return jax.nn.relu(h - thresholds) - jax.nn.relu(-h - thresholds)


def info_nce(weights, thresholds, query_view, key_view, negatives):
    queries = embed(query_view, weights, thresholds)
    keys, others = jax.lax.stop_gradient((embed(key_view, weights, thresholds), embed(negatives, weights, thresholds)))
    positives = jnp.sum(queries * keys, axis=1)
    logits = jnp.concatenate([positives[:, None], queries @ others.T], axis=1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - positives)


def step(t, state):
    features, weights, thresholds = state["features"], state["weights"], state["thresholds"]
    of_pairs, of_masks, of_negatives, rest = jax.random.split(state["random"], 4)
    x = 2.0 * observations(features, of_pairs)
    mask = jax.random.bernoulli(of_masks, 0.5, (b, d1))
    negatives = observations(features, of_negatives)
    gradient = jax.grad(info_nce)(weights, thresholds, jnp.where(mask, x, 0.0), jnp.where(mask, 0.0, x), negatives)
    before = jnp.linalg.norm(weights, axis=1)
    weights = weights * (1.0 - eta * WEIGHT_DECAY) - eta * gradient
    after = jnp.linalg.norm(weights, axis=1)
    cap, kept = given.cap_ratio * unit * after, thresholds * after / before
    grown = jnp.minimum(jnp.maximum(thresholds * (1.0 + GROWTH / d), kept), cap)
    later = jnp.where(thresholds < cap, grown, kept)
    thresholds = jnp.where(t < START_STEP, thresholds, jnp.where(t == START_STEP, INITIAL_RATIO * unit * after, later))
    return {"features": features, "weights": weights, "thresholds": thresholds, "random": rest}


many = jax.vmap(step, in_axes=(None, 0))


@functools.partial(jax.jit, donate_argnums=0)
def whole(state, first, end):
    return jax.lax.fori_loop(first, end, many, state)


one = jax.jit(lambda state, t: many(t, state), donate_argnums=0)


def train(state, first, end):
    if given.loop == "whole":
        return whole(state, first, end)
    for t in range(first, end):
        state = one(state, t)
    return state


state = jax.vmap(begin)(given.seed + jnp.arange(given.seeds))
state = jax.block_until_ready(train(state, 0, WARM_UP))
started = time.perf_counter()
state = jax.block_until_ready(train(state, WARM_UP, given.steps))
seconds = time.perf_counter() - started
along = jnp.einsum("smc,sdc->smd", state["weights"], state["features"])
cosines = jnp.abs(along) / jnp.linalg.norm(state["weights"], axis=2, keepdims=True)
print(json.dumps({
    "steps_per_second": given.seeds * (given.steps - WARM_UP) / seconds,
    "energy_in_span": float(jnp.mean(jnp.sum(cosines**2, axis=2))),
    "coverage_mean": float(jnp.mean(jnp.max(cosines, axis=1))),
}))
