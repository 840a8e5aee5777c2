#!/usr/bin/env python3
"""A step of contrast on sentences with a momentum copy and a queue as a user of PyTorch would write it, timed; prints one JSON line.

Both views of a batch are there before the clock starts: timed are nn.EmbeddingBag, the layers behind it, InfoNCE against the queue, Adam, the copy
and the queue.

    torch_text_step.py --batch 128 --threads 2

Needs torch.
"""

import argparse
import copy
import json
import time

import torch
from torch import nn
from torch.nn import functional

WARM_UP, STEPS = 20, 300
VOCABULARY, WORDS, WIDTH, OUTPUT, QUEUE, MOMENTUM, TEMPERATURE = 512, 24, 64, 32, 2048, 0.99, 0.1

arguments = argparse.ArgumentParser()
arguments.add_argument("--batch", type=int, default=128, help="sentences, each with two views")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--seed", type=int, default=0)
given = arguments.parse_args()

torch.set_num_threads(given.threads)
torch.manual_seed(given.seed)

network = nn.Sequential(
    nn.EmbeddingBag(VOCABULARY, WIDTH, mode="mean"),
    nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
    nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, OUTPUT),
)
follower = copy.deepcopy(network).requires_grad_(False)
optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
views = torch.randint(0, VOCABULARY, (2, given.batch, WORDS))
queue = functional.normalize(torch.randn(QUEUE, OUTPUT), dim=1)
targets = torch.zeros(given.batch, dtype=torch.long)
place = 0


def step():
    global place
    queries = functional.normalize(network(views[0]), dim=1)
    with torch.no_grad():
        keys = functional.normalize(follower(views[1]), dim=1)
    own = (queries * keys).sum(1, keepdim=True)
    loss = functional.cross_entropy(torch.cat([own, queries @ queue.T], 1) / TEMPERATURE, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        torch._foreach_lerp_(list(follower.parameters()), list(network.parameters()), 1 - MOMENTUM)
        queue[place : place + given.batch] = keys
    place = (place + given.batch) % QUEUE


for _ in range(WARM_UP):
    step()
started = time.perf_counter()
for _ in range(STEPS):
    step()
seconds = time.perf_counter() - started
print(json.dumps({"tokens_per_second": 2 * STEPS * given.batch * WORDS / seconds}))
