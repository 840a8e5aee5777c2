"""Image encoders, NT-Xent and SGD in PyTorch; writes image_encoders.json, which tests/image_encoders.rs reads.

torch 2.15.0, torchvision 0.29.2; run with `python image_encoders.py` in this folder. Weights, images and
initial running statistics are single-precision numbers that a hash of (tensor, position) gives, see `noise`;
the arithmetic is in double precision, so that what the test finds is the error of the other side alone. The
last column printed is how far PyTorch in single precision is from that, relative to the largest value.
"""

import json
import math

import numpy as np
import torch
import torchvision
from noise import noise
from torch import nn
from torch.nn import functional as F

TEMPERATURE = 0.5


def images_of(count, size):
    """Noise on blocks of one colour, four by four of them."""
    blocks = noise(1_000_003, count * 3 * 4 * 4).reshape(count, 3, 4, 4) * np.float32(4)
    pixels = noise(2_000_000, count * 3 * size * size).reshape(count, 3, size, size)
    return torch.from_numpy(blocks.repeat(size // 4, axis=2).repeat(size // 4, axis=3) + pixels)


def fill(model):
    """Every tensor of the state in its order: kernels and matrices of variance 2/fan, norms about (1, 0)."""
    state = model.state_dict()
    for number, (name, tensor) in enumerate(state.items()):
        if name.endswith("num_batches_tracked"):
            continue
        values = noise(number, tensor.numel())
        if tensor.dim() > 1:
            fan = tensor.numel() // tensor.shape[1]
            values = values * np.float32(math.sqrt(24.0 / fan))
        else:
            is_about_one = name.endswith("running_var") or (name.endswith("weight"))
            values = np.float32(is_about_one) + np.float32(0.25) * values
        state[name] = torch.from_numpy(values.reshape(tensor.shape)).to(tensor.dtype)
    model.load_state_dict(state)


class Projected(nn.Module):
    def __init__(self, encoder, dims):
        super().__init__()
        self.encoder = encoder
        self.projector = nn.Sequential(nn.Linear(dims[0], dims[1]), nn.ReLU(), nn.Linear(dims[1], dims[2]))


def resnet18():
    net = torchvision.models.resnet18()
    net.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool = nn.Identity()
    net.fc = nn.Identity()
    return Projected(net, [512, 128, 64])


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class SmallConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(ConvNorm(3, 32), ConvNorm(32, 64), ConvNorm(64, 128))

    def forward(self, x):
        return self.layers(x).mean(dim=(2, 3))


def small():
    return Projected(SmallConvNet(), [128, 128, 64])


class PreActivationBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes else None

    def forward(self, x):
        a = F.relu(self.bn1(x))
        h = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return h + (x if self.shortcut is None else self.shortcut(a))


class WideResNet(nn.Module):
    """Zagoruyko & Komodakis 2016, without dropout and classifier."""

    def __init__(self, depth, widen_factor):
        super().__init__()
        w1, w2, w3 = (width * widen_factor for width in (16, 32, 64))

        def group(inputs, outputs, stride):
            later = [PreActivationBlock(outputs, outputs, 1) for _ in range((depth - 4) // 6 - 1)]
            return nn.Sequential(PreActivationBlock(inputs, outputs, stride), *later)

        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = group(16, w1, 1)
        self.block2 = group(w1, w2, 2)
        self.block3 = group(w2, w3, 2)
        self.norm = nn.BatchNorm2d(w3)

    def forward(self, x):
        h = self.block3(self.block2(self.block1(self.conv1(x))))
        return F.relu(self.norm(h)).mean(dim=(2, 3))


def wide_resnet():
    return Projected(WideResNet(16, 2), [128, 128, 64])


def nt_xent(first, second):
    n = len(first)
    views = F.normalize(torch.cat([first, second]), dim=1)
    logits = views @ views.T / TEMPERATURE
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def run(build, images, size, steps, nesterov, dtype):
    """Values by name: features before any step, then losses, gradients' steps and statistics."""
    torch.manual_seed(0)
    model = build()
    fill(model)
    model = model.to(dtype)
    rows = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, x, n=name: rows.update({n: x[0].numel() // x[0].shape[1]}))
    x = images_of(images, size).to(dtype)
    found = {}
    for mode in ["eval", "train"]:
        model.train(mode == "train")
        with torch.no_grad():
            found[f"{mode} features"] = model.encoder(x)
    fill(model)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}],
        lr=1.0, momentum=0.9, nesterov=nesterov,
    )
    before = {name: t.clone() for name, t in model.state_dict().items()}
    for step, rate in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate
        features = model.encoder(x)
        projected = model.projector(features)
        loss = nt_xent(projected[: images // 2], projected[images // 2 :])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 0:
            found["projected"] = projected.detach()
        found[f"loss {step}"] = loss.detach().reshape(1)
    for name, p in model.named_parameters():
        if steps:
            found[f"moved {name}"] = p.detach() - before[name]
    for name, b in model.named_buffers():
        if steps and name.endswith("running_mean"):
            found[f"state {name}"] = b
        if steps and name.endswith("running_var"):
            # From the mean of unbiased variances to that of biased ones.
            n, kept = rows[name.removesuffix(".running_var")], 0.9 ** len(steps) * before[name]
            found[f"state {name}"] = kept + (b - kept) * (n - 1) / n
    return found


def sampled(values):
    flat = values.flatten().double()
    stride = max(1, len(flat) // 13)
    return {
        "shape": list(values.shape),
        "largest": float(flat.abs().max()),
        "stride": stride,
        "values": [float(f"{v:.9g}") for v in flat[::stride].tolist()],
    }


cases = {
    # Large images for the features. Small ones for the steps, and images chosen (the number in `images_of`,
    # for the Wide-ResNet their count and size) so that no rectifier's input is within 2e-5 of 0: one that
    # rounding opens here and shuts there carries a fraction of the gradient that is seen.
    "resnet18": (resnet18, 4, 32, [], False),
    "resnet18 steps": (resnet18, 8, 8, [1.0], False),
    "small steps": (small, 16, 32, [0.2, 0.1, 0.05], True),
    "wide_resnet": (wide_resnet, 4, 32, [], False),
    "wide_resnet steps": (wide_resnet, 10, 4, [1.0], False),
}
out = {"torch": torch.__version__, "torchvision": torchvision.__version__, "tensors": {}}
for case, (build, images, size, steps, nesterov) in cases.items():
    exact = run(build, images, size, steps, nesterov, torch.float64)
    single = run(build, images, size, steps, nesterov, torch.float32)
    tensors = [[name, list(t.shape)] for name, t in build().state_dict().items()]
    out["tensors"][build.__name__] = tensors
    out[case] = {name: sampled(values) for name, values in exact.items()}
    for name, values in exact.items():
        off = float((single[name].double() - values).abs().max() / values.abs().max())
        print(f"{case:17} {name:50} {float(values.abs().max()):.3e} {off:.1e}")
with open("image_encoders.json", "w") as file:
    json.dump(out, file, indent=0)
