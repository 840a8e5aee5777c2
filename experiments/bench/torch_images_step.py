#!/usr/bin/env python3
"""A SimCLR step of a convolutional encoder as a user of PyTorch would write it, timed; prints one JSON line.

Both views of a batch are there before the clock starts: timed are the network in channels_last, NT-Xent, and AdamW. With `--views`, views are
drawn in each step, image by image, as is usual with torchvision.

    torch_images_step.py --batch 256 --threads 2
    torch_images_step.py --encoder resnet18 --batch 32

Needs torch, and torchvision for `--views` and ResNet-18.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional

WARM_UP, STEPS = 2, 8
CHANNELS, STRIDES, HIDDEN, OUTPUT, TEMPERATURE = (32, 64, 128, 256), (2, 2, 2, 1), 256, 64, 0.5

arguments = argparse.ArgumentParser()
arguments.add_argument("--batch", type=int, default=256, help="images, each with two views")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--seed", type=int, default=0)
arguments.add_argument("--encoder", choices=["small", "resnet18"], default="small")
arguments.add_argument("--views", action="store_true", help="draw them in each step")
arguments.add_argument("--compile", action="store_true")
given = arguments.parse_args()

torch.set_num_threads(given.threads)
torch.manual_seed(given.seed)

if given.encoder == "resnet18":
    import torchvision

    encoder, width = torchvision.models.resnet18(), 512
    encoder.conv1, encoder.maxpool, encoder.fc = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity(), nn.Identity()
    layers = [encoder]
else:
    layers, width = [], 3
    for channels, stride in zip(CHANNELS, STRIDES):
        layers += [nn.Conv2d(width, channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        width = channels
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
head = [nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUT)]
network = nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)
step_forward = torch.compile(network) if given.compile else network
optimizer = torch.optim.AdamW(network.parameters(), lr=0.003, weight_decay=1e-4)
images = torch.rand(given.batch, 3, 32, 32)
fixed = torch.randn(2 * given.batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
if given.views:
    from torchvision.transforms import v2

    view = v2.Compose([
        v2.RandomResizedCrop(32, antialias=True), v2.RandomHorizontalFlip(), v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomGrayscale(0.2), v2.RandomApply([v2.GaussianBlur(3, (0.1, 2.0))], 0.5),
    ])
rows = torch.arange(2 * given.batch)
partners = rows.roll(given.batch)


def step():
    views = fixed
    if given.views:
        views = torch.stack([view(image) for image in torch.cat([images, images])]).contiguous(memory_format=torch.channels_last)
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
