"""Numbers that every reference program and every test can make."""

import numpy as np


def noise(tensor, count):
    """`count` numbers in [-0.5, 0.5) that are exact in single precision."""
    x = np.arange(count, dtype=np.uint64) + np.uint64(tensor) * np.uint64(0x9E3779B9)
    x = (x & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    x = x ^ (x >> np.uint32(16))
    return (x >> np.uint32(8)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)
