"""What the checks of a run share: reading its files, learning rates, and a table of the numbers that are compared."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# One rounding of a 32-bit float is a relative error of at most U; what is computed in double precision agrees to EXACT.
U = 2.0**-24
EXACT = 1e-9

RIDGE_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
VALIDATION_FRACTION = 0.25


class Unreadable(Exception):
    """A file is missing or damaged, or the run is of a kind that is not covered."""


# Reading


class Tensors:
    """The tensors of one file, as double-precision arrays."""

    def __init__(self, path):
        self.path = path
        self.arrays = read_safetensors(path)

    def __contains__(self, name):
        return name in self.arrays

    def get(self, name, *shape):
        """The tensor of that name, after a check of its shape."""
        if name not in self.arrays:
            raise Unreadable(f"{self.path}: there is no tensor {name}")
        array = self.arrays[name]
        if array.shape != shape:
            raise Unreadable(f"{self.path}: {name} has shape {list(array.shape)} instead of {list(shape)}")
        return array

    def shape(self, name, dimensions):
        """The shape of a tensor with that many dimensions."""
        if name not in self.arrays:
            raise Unreadable(f"{self.path}: there is no tensor {name}")
        if self.arrays[name].ndim != dimensions:
            raise Unreadable(f"{self.path}: {name} must have {dimensions} dimensions")
        return self.arrays[name].shape


def read_bytes(path):
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from error


def read_json(path):
    """The JSON object of a file."""
    return parse_json(path, read_bytes(path))


def parse_json(path, data):
    """A JSON object."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise Unreadable(f"{path}: is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unreadable(f"{path}: is not a JSON object")
    return value


def read_safetensors(path):
    """Name to array: 8 bytes of header length, a header in JSON, little-endian 32-bit floats."""
    data = read_bytes(path)
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or start > len(data):
        raise Unreadable(f"{path}: is cut short")
    header = parse_json(path, data[8:start])
    header.pop("__metadata__", None)
    body = memoryview(data)[start:]
    return {name: read_tensor(path, name, entry, body) for name, entry in header.items()}


def read_tensor(path, name, entry, data):
    """One tensor of a file."""
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(map(int, entry["shape"])), map(int, entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{path}: the entry of {name} is damaged") from error
    if kind != "F32":
        raise Unreadable(f"{path}: {name} holds {kind} instead of F32")
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(data) or end - begin != 4 * math.prod(shape):
        raise Unreadable(f"{path}: the bytes of {name} do not match its shape")
    array = np.frombuffer(data[begin:end], dtype="<f4").reshape(shape).astype(np.float64)
    if not np.isfinite(array).all():
        raise Unreadable(f"{path}: {name} holds a number that is not finite")
    return array


def look_up(value, path):
    """A value in nested JSON objects, by a path with dots."""
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise Unreadable(f"run.json: there is no {path}")
        value = value[key]
    return value


def number(value, path):
    """A number in nested JSON objects."""
    found = look_up(value, path)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise Unreadable(f"run.json: {path} is {found!r}, not a number")
    return float(found)


def numbers(value, path, count):
    """A list of so many numbers in nested JSON objects."""
    found = look_up(value, path)
    if not isinstance(found, list) or len(found) != count or not all(isinstance(v, (int, float)) for v in found):
        raise Unreadable(f"run.json: {path} must hold {count} numbers")
    return np.array(found, float)


def variant(value, path):
    """Name and fields of a choice: a bare string, or an object with one key."""
    found = look_up(value, path)
    if isinstance(found, str):
        return found, {}
    if isinstance(found, dict) and len(found) == 1:
        return next(iter(found.items()))
    raise Unreadable(f"run.json: {path} is not a choice")


# Schedules


def learning_rate(spec, step, steps_per_unit=1):
    """η at a step, from its schedule, whose times are in units of so many steps and rounded to whole steps."""
    kind, fields = variant(spec, "optimization.learning_rate")

    def time(key):
        return math.floor(number(fields, key) * steps_per_unit + 0.5)

    if kind == "constant":
        return number(fields, "rate")
    if kind == "exponential_decay":
        first, last = number(fields, "first"), number(fields, "last")
        fraction = fraction_passed(step, time("decay_from"), time("decay_to"))
        return first ** (1 - fraction) * last**fraction
    if kind == "warmup_cosine":
        peak, warmup, end = number(fields, "peak"), time("warmup"), time("end")
        if step < warmup:
            return peak * (step + 1) / warmup
        return peak * (1 + math.cos(math.pi * fraction_passed(step, warmup, end))) / 2
    raise Unreadable(f"run.json: a learning rate {kind} is not covered")


def fraction_passed(step, start, end):
    """How much of the time from start to end has passed, from 0 to 1."""
    if end <= start:
        raise Unreadable(f"run.json: the learning rate falls from step {start} to step {end}, which is not later")
    return min(max(step - start, 0.0) / (end - start), 1.0)


# Comparing


@dataclass
class Row:
    """One line of the table."""

    name: str
    reported: float
    recomputed: float
    difference: float
    tolerance: float

    @property
    def agrees(self):
        """Whether the difference is within the tolerance; never so for a NaN."""
        return self.difference <= self.tolerance


class Table:
    """What was compared so far."""

    def __init__(self):
        self.rows = []

    def number(self, name, reported, recomputed, tolerance):
        """Compares two numbers."""
        self.rows.append(Row(name, reported, recomputed, abs(reported - recomputed), tolerance))

    def array(self, name, reported, recomputed, bound):
        """Compares two arrays entry by entry; the line shows the entry that is worst for its bound."""
        difference = np.abs(reported - recomputed)
        bound = np.broadcast_to(bound, difference.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            fraction = np.where(difference == 0, 0.0, difference / bound)
        if fraction.size == 0:
            return
        at = np.unravel_index(np.argmax(fraction), fraction.shape)
        values = (reported[at], recomputed[at], difference[at], bound[at])
        self.rows.append(Row(name, *map(float, values)))

    def count(self, name, wrong):
        """Compares a number of violations with none."""
        self.number(name, float(np.sum(wrong)), 0.0, 0.0)

    def text(self):
        """The table in columns."""
        width = max([44, *(len(r.name) for r in self.rows)])
        lines = [f"{'name':<{width}} {'reported':>14} {'recomputed':>14} {'difference':>11} {'tolerance':>11}"]
        for r in self.rows:
            verdict = "ok" if r.agrees else "WRONG"
            numbers = f"{r.reported:>14.7g} {r.recomputed:>14.7g} {r.difference:>11.2e} {r.tolerance:>11.2e}"
            lines.append(f"{r.name:<{width}} {numbers}  {verdict}")
        return "\n".join(lines)


def print_check(program, check, arguments):
    """Prints the table of a check of the folder that is the argument; the exit status."""
    if len(arguments) != 1:
        print(f"usage: python {program} FOLDER", file=sys.stderr)
        return 2
    try:
        table = check(Path(arguments[0]))
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    print(table.text())
    wrong = sum(not row.agrees for row in table.rows)
    print(f"\n{len(table.rows)} compared, {wrong} wrong")
    return 1 if wrong else 0


# Probes


def standardised(train, *others):
    """Columns with mean 0 and variance 1 over the training rows; a column that does not vary is left at 0."""
    mean, deviation = train.mean(0), train.std(0)
    varies = deviation > 1e-12 * np.abs(mean)
    factor = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
    return [(rows - mean) * factor for rows in (train, *others)]
