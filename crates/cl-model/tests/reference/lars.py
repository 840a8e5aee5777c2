"""Three LARS steps in double precision; the numbers stand in src/lars.rs.

numpy 2.4.6; run with `python lars.py`.
"""

import numpy as np

w = np.array([[3.0, -4.0], [0.5, 2.0]])
gradients = [
    np.array([[1.0, 0.5], [-2.0, 0.0]]),
    np.array([[0.25, -1.0], [0.0, 4.0]]),
    np.array([[-1.0, 1.0], [1.0, -1.0]]),
]
momentum, trust, decay = 0.9, 0.001, 0.01
v = np.zeros_like(w)
for gradient, eta in zip(gradients, [1.0, 2.0, 0.5]):
    g = gradient + decay * w
    v = momentum * v + eta * trust * np.linalg.norm(w) / np.linalg.norm(g) * g
    w = w - v
print(np.__version__, w.ravel().tolist())
