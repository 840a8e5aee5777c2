"""Writing runs for the tests of the checks, and altering what they report."""

import copy
import json

import numpy as np


def rounded(array):
    """To 32 bits, as files hold them."""
    return np.asarray(array, np.float32).astype(float)


def save(path, tensors):
    """As safetensors."""
    header, body = {}, b""
    for name, array in tensors.items():
        data = np.asarray(array, "<f4")
        header[name] = {"dtype": "F32", "shape": list(data.shape), "data_offsets": [len(body), len(body) + data.nbytes]}
        body += data.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def write(folder, name, value):
    """As JSON."""
    (folder / name).write_text(json.dumps(value))


def paths(value, at=()):
    """Places of all numbers."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, float):
        yield at
    for key, below in items:
        yield from paths(below, (*at, key))


def unnoticed(folder, reported, wrong, factor):
    """Places of numbers of evaluation.json that may be another number, without the check calling anything wrong."""
    places = []
    for place in paths(reported):
        changed = copy.deepcopy(reported)
        below = changed
        for key in place[:-1]:
            below = below[key]
        below[place[-1]] = below[place[-1]] * factor + 0.05
        write(folder, "evaluation.json", changed)
        if not wrong(folder):
            places.append(place)
    return places
