#!/usr/bin/env python3
"""A SimCLR step of a small convolutional encoder as a user of PyTorch would write it, timed; prints one JSON line.

Both views of a batch are there before the clock starts: timed are the network in channels_last, NT-Xent, and AdamW.

    torch_images_step.py --batch 256 --threads 2

Needs torch.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional

WARM_UP, STEPS = 2, 16
CHANNELS, STRIDES, HIDDEN, OUTPUT, TEMPERATURE = (32, 64, 128, 256), (2, 2, 2, 1), 256, 64, 0.5

arguments = argparse.ArgumentParser()
arguments.add_argument("--batch", type=int, default=256, help="images, each with two views")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--seed", type=int, default=0)
arguments.add_argument("--compile", action="store_true")
given = arguments.parse_args()

torch.set_num_threads(given.threads)
torch.manual_seed(given.seed)

layers, width = [], 3
for channels, stride in zip(CHANNELS, STRIDES):
    layers += [nn.Conv2d(width, channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    width = channels
head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUT)]
network = nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)
step_forward = torch.compile(network) if given.compile else network
optimizer = torch.optim.AdamW(network.parameters(), lr=0.003, weight_decay=1e-4)
views = torch.randn(2 * given.batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
rows = torch.arange(2 * given.batch)
partners = rows.roll(given.batch)


def step():
    z = functional.normalize(step_forward(views), dim=1)
    cosines = z @ z.T / TEMPERATURE
    cosines[rows, rows] = -torch.inf
    loss = functional.cross_entropy(cosines, partners)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


for _ in range(WARM_UP):
    step()
started = time.perf_counter()
for _ in range(STEPS):
    step()
print(json.dumps({"images_per_second": STEPS * given.batch / (time.perf_counter() - started)}))
