"""Writes augmentations.safetensors: what torchvision makes of four small images with fixed parameters.

    pip install torch==2.15.0 torchvision==0.29.2 safetensors==0.8.0
    python augmentations.py

Images follow a formula. Everything is computed in double precision from single-precision inputs and stored in
single precision, so that a comparison measures the error of the other side. Images are 24 rows by 32 columns:
an exchange of the axes does not go unseen. Every image has parameters of its own.

The counts of `RandomResizedCrop.get_params` are over DRAWS boxes of an image of 32 by 32 pixels.
"""

import pathlib

import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F
from torchvision.transforms.v2 import functional as v2

IMAGES, HEIGHT, WIDTH = 4, 24, 32
DRAWS = 200_000


def images():
    """Two smooth images, one of all colours with channels in {0, 1/2, 1}, one of noise with flat grey parts."""
    n, c, y, x = torch.meshgrid(
        torch.arange(IMAGES), torch.arange(3), torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij"
    )
    n, c, y, x = n.double(), c.double(), y.double(), x.double()
    smooth = 0.5 + 0.5 * torch.sin(0.9 * n + 1.7 * c + (0.31 + 0.1 * c) * y - (0.23 + 0.07 * n) * x)
    code = (y * WIDTH + x) % 27
    corners = torch.floor(code / 3**c) % 3 / 2
    noise = torch.frac(43758.5453 * torch.sin(12.9898 * x + 78.233 * y + 37.719 * c + 1.0)).abs()
    noise = torch.where((x < 8) & (y < 8), torch.full_like(noise, 0.25), noise)
    return torch.stack([smooth[0], smooth[1], corners[2], noise[3]]).float()


x = images()
double = x.double()
out = {"images": x}


def each(operation):
    return torch.cat([operation(i, double[i : i + 1]) for i in range(IMAGES)])


def parameter(name, values, dtype=torch.float32):
    out[name] = torch.tensor(values, dtype=dtype)
    # What the other side reads back.
    return out[name].double().tolist() if dtype == torch.float32 else values


# top, left, height, width
boxes = parameter("boxes", [[0, 0, 24, 32], [3, 5, 9, 7], [10, 0, 14, 31], [23, 31, 1, 1]], torch.int32)
flips = parameter("flips", [0, 1, 0, 1], torch.int32)
brightness = parameter("brightness", [0.6, 1.4, 1.0, 0.0])
contrast = parameter("contrast", [1.4, 0.6, 0.83, 1.9])
saturation = parameter("saturation", [0.6, 1.4, 1.21, 0.0])
hue = parameter("hue", [0.1, -0.1, 0.5, -0.37])
sigma = parameter("sigma", [0.1, 2.0, 0.7, 1.3])
mean = parameter("mean", [0.4914, 0.4822, 0.4465])
std = parameter("std", [0.2470, 0.2435, 0.2616])


def crop(i, image, size):
    return F.resized_crop(image, *boxes[i], size, InterpolationMode.BILINEAR, antialias=True)


out["crop_same_size"] = each(lambda i, image: crop(i, image, [HEIGHT, WIDTH]))
out["crop_smaller"] = each(lambda i, image: crop(i, image, [7, 12]))
out["crop_flipped"] = each(lambda i, image: F.hflip(crop(i, image, [16, 16])) if flips[i] else crop(i, image, [16, 16]))
out["flip"] = each(lambda i, image: F.hflip(image) if flips[i] else image)
out["adjust_brightness"] = each(lambda i, image: F.adjust_brightness(image, brightness[i]))
out["adjust_contrast"] = each(lambda i, image: F.adjust_contrast(image, contrast[i]))
out["adjust_saturation"] = each(lambda i, image: F.adjust_saturation(image, saturation[i]))
out["adjust_hue"] = each(lambda i, image: F.adjust_hue(image, hue[i]))
# All three channels are the same.
out["rgb_to_grayscale"] = each(lambda i, image: F.rgb_to_grayscale(image, 1))
out["gaussian_blur_3"] = each(lambda i, image: F.gaussian_blur(image, [3, 3], [sigma[i], sigma[i]]))
out["gaussian_blur_9"] = each(lambda i, image: F.gaussian_blur(image, [9, 9], [sigma[i], sigma[i]]))[:, :, ::2, ::2]

# The two generations of torchvision's functions agree; the second computes the hue in single precision.
assert torch.allclose(v2.adjust_hue(double[:1], hue[0]), out["adjust_hue"][:1], atol=2e-6)

CHANGES = [
    lambda image, i: F.adjust_brightness(image, brightness[i]),
    lambda image, i: F.adjust_contrast(image, contrast[i]),
    lambda image, i: F.adjust_saturation(image, saturation[i]),
    lambda image, i: F.adjust_hue(image, hue[i]),
]


def chain(i, image, order, crops, grey, blurred):
    """Crop, flip, colours in order, grey, blur, normalise."""
    if crops:
        image = crop(i, image, [HEIGHT, WIDTH])
        image = F.hflip(image) if flips[i] else image
    for change in order[i]:
        image = CHANGES[change](image, i)
    if grey[i]:
        image = F.rgb_to_grayscale(image, 3)
    if blurred[i]:
        image = F.gaussian_blur(image, [3, 3], [sigma[i], sigma[i]])
    return F.normalize(image, mean, std)


# The hue in each of the four places.
first = parameter("first_order", [[3, 0, 1, 2], [1, 3, 2, 0], [2, 1, 3, 0], [0, 2, 1, 3]], torch.int32)
second = parameter("second_order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]], torch.int32)
first_grey = parameter("first_grey", [0, 0, 0, 1], torch.int32)
second_grey = parameter("second_grey", [1, 0, 0, 0], torch.int32)
first_blurred = parameter("first_blurred", [1, 1, 0, 1], torch.int32)
second_blurred = parameter("second_blurred", [0, 0, 1, 0], torch.int32)
out["first_chain"] = each(lambda i, image: chain(i, image, first, True, first_grey, first_blurred))
out["second_chain"] = each(lambda i, image: chain(i, image, second, False, second_grey, second_blurred))

torch.manual_seed(0)
square = torch.zeros(3, 32, 32)
counts = {name: torch.zeros(33, dtype=torch.int32) for name in ["top", "left", "height", "width"]}
areas = torch.zeros(32 * 32 + 1, dtype=torch.int32)
for _ in range(DRAWS):
    drawn = RandomResizedCrop.get_params(square, [0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0])
    for name, value in zip(["top", "left", "height", "width"], drawn):
        counts[name][value] += 1
    areas[drawn[2] * drawn[3]] += 1
out |= {f"count_of_{name}": value for name, value in counts.items()}
out["count_of_area"] = areas

to_store = {
    name: (value.float() if value.is_floating_point() else value).contiguous() for name, value in out.items()
}
metadata = {"torch": torch.__version__, "torchvision": torchvision.__version__}
path = pathlib.Path(__file__).with_suffix(".safetensors")
save_file(to_store, path, metadata)
path.chmod(0o644)
