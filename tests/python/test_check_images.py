"""`check_images.py` accepts a run made by another implementation in 32-bit floats, and no other numbers.

python test_check_images.py
"""

import contextlib
import io
import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import check_images  # noqa: E402
import making_signals  # noqa: E402

F = np.float32
SIGNALS = ("effective_rank", "spread", "alignment", "uniformity")
TRAIN, TEST, SIDE, CLASSES = 24, 12, 8, 3
BATCH, STEP = 8, 5
CHANNELS, STRIDES, HIDDEN, OUTPUT = (5, 6), (1, 2), 7, 4

NT_XENT = {"nt_xent": {"temperature": 0.5}}
RELU = "relu"
SYMMETRIC = {"symmetric_relu": {"threshold": 0.25}}


def info_nce(similarity, key_gradient, scale):
    """An objective."""
    options = {"similarity": similarity, "key_gradient": key_gradient, "temperature": 0.7, "scale": scale}
    return {"info_nce": options}


OPTIMIZERS = [
    {
        "name": "sgd",
        "config": {"sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
        "learning_rate": 0.05,
    },
    {
        "name": "plain",
        "config": {"sgd": {"momentum": 0.8, "nesterov": False, "weight_decay": 0.01}},
        "learning_rate": 0.1,
    },
    {
        "name": "adamw",
        "config": {"adamw": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.05}},
        "learning_rate": 0.003,
    },
    {
        "name": "lars",
        "config": {"lars": {"momentum": 0.9, "trust_coefficient": 0.001, "weight_decay": 0.01}},
        "learning_rate": 0.5,
    },
]


def specification(encoder, objective=NT_XENT, normalization="none"):
    """What `run.json` says of a run."""
    return {
        "data": {
            "images": {
                "dataset": {"shapes": {"train": TRAIN, "test": TEST, "seed": 1}},
                "content": {
                    "fingerprint": ["", ""],
                    "train": TRAIN,
                    "test": TEST,
                    "size": [SIDE, SIDE],
                    "num_classes": CLASSES,
                },
            },
        },
        "views": {"transform": []},
        "model": {
            "encoder": encoder,
            "projector": {"hidden_dims": [HIDDEN], "output_dim": OUTPUT, "normalization": normalization},
        },
        "objective": objective,
        "optimization": {
            "epochs": 4,
            "batch_size": BATCH,
            "optimizer": OPTIMIZERS[0]["config"],
            "learning_rate": {"warmup_cosine": {"peak": 0.1, "warmup": 0.5, "end": 4.0}},
            "snapshot_every": 2,
        },
        "evaluation": {
            "neighbors": 5,
            "temperature": 0.1,
            "snapshot_train": 16,
            "snapshot_test": 9,
            "baselines": True,
            "analysis": True,
        },
    }


def small_conv_net(last_activation=RELU):
    """The encoder that is made here."""
    return {
        "small_conv_net": {"channels": list(CHANNELS), "strides": list(STRIDES), "last_activation": last_activation}
    }


# Networks in 32-bit floats: images first


def windows(x, k, stride):
    """What each place of a kernel sees, [N, C, H, W, k, k]."""
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    return np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]


def conv(x, w, stride):
    """A convolution."""
    return np.einsum("nchwij,ocij->nohw", windows(x, w.shape[2], stride), w, optimize=True)


def conv_back(g, x, w, stride):
    """Gradients in images and kernels, place by place."""
    k = w.shape[2]
    padded = np.pad(np.zeros_like(x), ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    for row in range(g.shape[2]):
        for column in range(g.shape[3]):
            at = np.s_[:, :, row * stride : row * stride + k, column * stride : column * stride + k]
            padded[at] += np.einsum("no,ocij->ncij", g[:, :, row, column], w)
    edge = k // 2
    in_x = padded[:, :, edge : edge + x.shape[2], edge : edge + x.shape[3]]
    return in_x, np.einsum("nohw,nchwij->ocij", g, windows(x, k, stride), optimize=True)


def per_channel(v, x):
    """Values of channels, to go with x."""
    return v[None, :, None, None] if x.ndim == 4 else v[None, :]


def norm(x, mean, variance, gamma, beta):
    """A norm with given moments."""
    unit = (x - per_channel(mean, x)) / np.sqrt(per_channel(variance, x) + F(1e-5))
    return unit * per_channel(gamma, x) + per_channel(beta, x)


def norm_back(g, x, gamma):
    """Gradients in x, scale and shift, by way of variance and mean."""
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    count = F(x.size / x.shape[1])
    mean = x.mean(axes)
    centred = x - per_channel(mean, x)
    deviation = np.sqrt((centred**2).mean(axes) + F(1e-5))
    unit = centred / per_channel(deviation, x)
    in_unit = g * per_channel(gamma, x)
    in_variance = (in_unit * centred).sum(axes) * F(-0.5) / deviation**3
    in_mean = -in_unit.sum(axes) / deviation - in_variance * F(2) * centred.mean(axes)
    in_x = in_unit / per_channel(deviation, x) + per_channel(in_variance, x) * F(2) * centred / count
    return in_x + per_channel(in_mean, x) / count, (g * unit).sum(axes), g.sum(axes)


def rectify(u, threshold):
    """The activation, in two arms where it has a threshold, and its derivative."""
    if threshold is None:
        return np.maximum(u, 0), (u > 0).astype(F)
    b = F(threshold)
    return np.maximum(u - b, 0) - np.maximum(-u - b, 0), ((u > b) | (-u > b)).astype(F)


class Net:
    """A small network with two layers, and projector or head."""

    def __init__(self, spec, tensors, flip=None):
        self.tensors, self.flip = tensors, flip
        self.supervised = spec["objective"] == "supervised"
        self.batch = spec["model"]["projector"]["normalization"] == "batch"
        last = spec["model"]["encoder"]["small_conv_net"]["last_activation"]
        self.thresholds = [None] * (len(CHANNELS) - 1) + [None if last == RELU else last["symmetric_relu"]["threshold"]]

    def layer(self, i):
        """Kernels, scale, shift and running moments."""
        at = f"encoder.layers.{i}"
        names = ("conv.weight", "norm.gamma", "norm.beta", "norm.running_mean", "norm.running_var")
        return [self.tensors[f"{at}.{name}"] for name in names]

    def features(self, x):
        """Features, and the activations on the way, with running moments."""
        layers = []
        for i, (stride, threshold) in enumerate(zip(STRIDES, self.thresholds)):
            w, gamma, beta, mean, variance = self.layer(i)
            x, _ = rectify(norm(conv(x, w, stride), mean, variance, gamma, beta), threshold)
            layers.append(x)
        return x.mean((2, 3)), layers

    def embed(self, x):
        """What the loss sees, with running moments."""
        f, t = self.features(x)[0], self.tensors
        if self.supervised:
            return f @ t["head.weight"] + t["head.bias"]
        h = f @ t["projector.hidden.0.weight"] + t["projector.hidden.0.bias"]
        if self.batch:
            h = norm(h, *(t[f"projector.norms.0.{k}"] for k in ("running_mean", "running_var", "gamma", "beta")))
        return np.maximum(h, 0) @ t["projector.output.weight"] + t["projector.output.bias"]

    def step(self, x, loss):
        """Loss, gradients and running moments of a training step."""
        t, gradients, running, kept = self.tensors, {}, {}, []

        def train_norm(h, name):
            axes = (0, 2, 3) if h.ndim == 4 else (0,)
            for part, value in (("mean", h.mean(axes)), ("var", h.var(axes))):
                running[f"{name}.running_{part}"] = F(0.9) * t[f"{name}.running_{part}"] + F(0.1) * value
            return norm(h, h.mean(axes), h.var(axes), t[f"{name}.gamma"], t[f"{name}.beta"])

        for i, (stride, threshold) in enumerate(zip(STRIDES, self.thresholds)):
            h = conv(x, self.layer(i)[0], stride)
            a, slope = rectify(train_norm(h, f"encoder.layers.{i}.norm"), threshold)
            if self.flip and self.flip[0] == i:
                slope[self.flip[1]] = 1 - slope[self.flip[1]]
            kept.append((x, h, slope))
            x = a
        f = x.mean((2, 3))
        if self.supervised:
            value, g = loss(f @ t["head.weight"] + t["head.bias"])
            gradients |= {"head.weight": f.T @ g, "head.bias": g.sum(0)}
            g = g @ t["head.weight"].T
        else:
            h = f @ t["projector.hidden.0.weight"] + t["projector.hidden.0.bias"]
            u = train_norm(h, "projector.norms.0") if self.batch else h
            value, g = loss(np.maximum(u, 0) @ t["projector.output.weight"] + t["projector.output.bias"])
            gradients |= {"projector.output.weight": np.maximum(u, 0).T @ g, "projector.output.bias": g.sum(0)}
            g = (g @ t["projector.output.weight"].T) * (u > 0)
            if self.batch:
                g, *of_norm = norm_back(g, h, t["projector.norms.0.gamma"])
                gradients |= dict(zip(("projector.norms.0.gamma", "projector.norms.0.beta"), of_norm))
            gradients |= {"projector.hidden.0.weight": f.T @ g, "projector.hidden.0.bias": g.sum(0)}
            g = g @ t["projector.hidden.0.weight"].T
        places = F(x.shape[2] * x.shape[3])
        g = np.broadcast_to(g[:, :, None, None] / places, x.shape)
        for i in reversed(range(len(CHANNELS))):
            at, (before, h, slope) = f"encoder.layers.{i}", kept[i]
            w, gamma, *_ = self.layer(i)
            g, gradients[f"{at}.norm.gamma"], gradients[f"{at}.norm.beta"] = norm_back(g * slope, h, gamma)
            g, gradients[f"{at}.conv.weight"] = conv_back(g, before, w, STRIDES[i])
        return float(value), gradients, running


def loss_function(spec, classes):
    """From what the loss sees to the loss and its gradient, row by row."""
    if spec["objective"] == "supervised":
        return lambda z: cross_entropy(z, classes)
    ((kind, options),) = spec["objective"].items()
    return (lambda z: nt_xent(z, options)) if kind == "nt_xent" else (lambda z: contrast(z, options))


def softmax(logits):
    """Log partition and fractions of one row."""
    e = np.exp(logits - logits.max())
    return np.log(e.sum()) + logits.max(), e / e.sum()


def cross_entropy(z, classes):
    """Labels."""
    loss, gradient = F(0), np.zeros_like(z)
    for i, label in enumerate(classes):
        log_partition, gradient[i] = softmax(z[i])
        loss += log_partition - z[i, label]
        gradient[i, label] -= 1
    return loss / F(len(z)), gradient / F(len(z))


def through_length(z, g):
    """The gradient in a vector from that in its direction."""
    length = np.sqrt(z @ z)
    return (np.eye(len(z), dtype=F) - np.outer(z, z) / length**2) @ g / length


def nt_xent(z, options):
    """SimCLR's loss."""
    tau, n = F(options["temperature"]), len(z)
    units = np.stack([row / np.sqrt(row @ row) for row in z])
    loss, in_units = F(0), np.zeros_like(z)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        partner = (i + n // 2) % n
        log_partition, fractions = softmax(units[others] @ units[i] / tau)
        loss += (log_partition - units[i] @ units[partner] / tau) / F(n)
        for fraction, j in [*zip(fractions, others), (F(-1), partner)]:
            in_units[i] += fraction * units[j] / tau / F(n)
            in_units[j] += fraction * units[i] / tau / F(n)
    return loss, np.stack([through_length(*pair) for pair in zip(z, in_units)])


def contrast(z, options):
    """The paper's loss and its relatives."""
    tau, n = F(options["temperature"]), len(z) // 2
    factor = tau if options["scale"] == "temperature" else F(1)
    cosine = options["similarity"] == "cosine"
    v = np.stack([row / np.sqrt(row @ row) for row in z]) if cosine else z
    loss, g = F(0), np.zeros_like(z)
    for i in range(n):
        log_partition, fractions = softmax(v[n:] @ v[i] / tau)
        loss += factor * (log_partition - v[i] @ v[n + i] / tau) / F(n)
        fractions[i] -= 1
        g[i] += factor / tau / F(n) * fractions @ v[n:]
        if options["key_gradient"] == "flows":
            g[n:] += factor / tau / F(n) * np.outer(fractions, v[i])
    return loss, np.stack([through_length(*pair) for pair in zip(z, g)]) if cosine else g


# Optimizers in 32-bit floats


def updated(optimizer, w, g, mistake=None):
    """A tensor after one and two updates, with a mistake where one is asked for."""
    ((kind, c),) = optimizer["config"].items()
    eta, length = F(optimizer["learning_rate"]), F(1.01 if mistake == "a percent too long" else 1)
    decay = F(c["weight_decay"]) if w.ndim > 1 or mistake == "decays vectors" else F(0)
    dampening = F(0.1 if mistake == "dampened" else 0)
    after, v, square, of_step = [], None, None, g
    for k in (1, 2):
        # The second gradient is half of the first, the other way.
        g = of_step if k == 1 else F(-0.5) * of_step
        if kind == "adamw":
            b1, b2 = F(c["beta_1"]), F(c["beta_2"])
            if mistake == "rates exchanged":
                b1, b2 = b2, b1
            v = (1 - b1) * g if v is None else b1 * v + (1 - b1) * g
            square = (1 - b2) * g * g if square is None else b2 * square + (1 - b2) * g * g
            corrected = (1, 1) if mistake == "bias is not corrected" else (1 - b1**k, 1 - b2**k)
            change = eta * (v / corrected[0]) / (np.sqrt(square / corrected[1]) + F(c["epsilon"]))
            w = w * (1 - eta * decay) - length * change
        else:
            d = g + decay * w
            if kind == "lars":
                ratio = F(c["trust_coefficient"]) * np.sqrt((w * w).sum()) / np.sqrt((d * d).sum())
                d = eta * d * (ratio if w.ndim > 1 else F(1))
            momentum = F(c["momentum"])
            v = d if v is None else momentum * v + (1 - dampening) * d
            change = d + momentum * v if c.get("nesterov") else v
            w = w - length * change * (F(1) if kind == "lars" else eta)
        after.append(w)
    return after


# What is measured, in other words than in the check


def nearest(train, labels, test, spec):
    """Votes of the nearest, image by image."""
    e = spec["evaluation"]
    unit = [rows / np.sqrt((rows * rows).sum(1, keepdims=True)) for rows in (train, test)]
    predicted = []
    for row in unit[1]:
        cosines = unit[0] @ row
        ranked = sorted(range(len(train)), key=lambda i: (-cosines[i], i))[: e["neighbors"]]
        votes = [
            sum(np.exp(float(cosines[i]) / e["temperature"]) for i in ranked if labels[i] == c) for c in range(CLASSES)
        ]
        predicted.append(votes.index(max(votes)))
    return np.array(predicted)


def standard(train, test):
    """Standardised columns in double precision."""
    train, test = train.astype(float), test.astype(float)
    deviation = train.std(0)
    deviation[deviation == 0] = np.inf
    return (train - train.mean(0)) / deviation, (test - train.mean(0)) / deviation


def linear_probe(train, labels, test):
    """Softmax regression by Newton's method with all second derivatives."""
    a, a_test = (np.column_stack([rows, np.ones(len(rows))]) for rows in standard(train, test))
    width, truth = a.shape[1], np.eye(CLASSES)[labels]
    penalty = np.kron(np.eye(CLASSES), np.diag([1.0] * (width - 1) + [1e-9]))
    beta = np.zeros(CLASSES * width)

    def at(beta):
        scores = a @ beta.reshape(CLASSES, width).T
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        return p, -np.log((p * truth).sum(1)).sum() + beta @ penalty @ beta / 2

    for _ in range(40):
        p, loss = at(beta)
        gradient = ((p - truth).T @ a).ravel() + penalty @ beta
        blocks = [[(a.T * (p[:, c] * ((c == d) - p[:, d]))) @ a for d in range(CLASSES)] for c in range(CLASSES)]
        direction = np.linalg.solve(np.block(blocks) + penalty, gradient)
        length = 1.0
        while at(beta - length * direction)[1] > loss + 1e-12 and length > 1e-6:
            length /= 2
        beta = beta - length * direction
    return (a_test @ beta.reshape(CLASSES, width).T).argmax(1)


def score(predicted, truth):
    """Accuracy and confusion."""
    confusion = [[int(np.sum((truth == t) & (predicted == p))) for p in range(CLASSES)] for t in range(CLASSES)]
    return {"accuracy": float(np.mean(predicted == truth)), "confusion": confusion}


def ridge(train, y, test, y_test):
    """R² with the penalty that does best on the last quarter."""

    def fitted(train, y, test, y_test, penalty):
        a, a_test = standard(train, test)
        beta = np.linalg.solve(a.T @ a / len(a) + penalty * np.eye(a.shape[1]), a.T @ (y - y.mean()) / len(a))
        rest = y_test - y.mean() - a_test @ beta
        return float(1 - rest @ rest / ((y_test - y_test.mean()) ** 2).sum())

    fit = len(train) - len(train) // 4
    penalties = [10.0**-k for k in range(5, 0, -1)]
    best = max(penalties, key=lambda p: fitted(train[:fit], y[:fit], train[fit:], y[fit:], p))
    return fitted(train, y, test, y_test, best)


def stratified(labels, rng):
    """An order in every beginning of which classes have their proportions."""
    places = []
    for c in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == c))
        places.extend(((2 * k + 1) / len(members), int(i)) for k, i in enumerate(members))
    return [i for _, i in sorted(places, key=lambda place: place[0])]


# A run in 32-bit floats


class Maker:
    """Makes the files of a run."""

    def __init__(self, objective=NT_XENT, last_activation=RELU, normalization="none", flip=None):
        self.rng = np.random.default_rng(5)
        self.spec = specification(small_conv_net(last_activation), objective, normalization)
        self.supervised, self.flip = objective == "supervised", flip
        self.paint()
        self.orders = {part: stratified(self.labels[part], self.rng) for part in ("train", "test")}
        take = {"snapshot_train": ("train", 16), "snapshot_test": ("test", 9), "held_out": ("test", BATCH)}
        take |= {"looked_into": ("test", TEST), "directions_train": ("train", TRAIN), "directions_test": ("test", TEST)}
        self.parts = {name: self.orders[of][:count] for name, (of, count) in take.items()}
        for name in ("snapshot_train", "snapshot_test"):
            self.parts[name] = sorted(self.parts[name])
        self.states = {state: self.network() for state in ("before", "untrained", "last", "best")}

    def paint(self):
        """A patch on a ground; its pattern is the class."""
        self.latents, self.labels, self.pixels = {}, {}, {}
        for part, count in (("train", TRAIN), ("test", TEST)):
            labels = self.rng.permutation(np.arange(count) % CLASSES)
            latents = self.rng.random((count, 9)).astype(F)
            pixels = np.zeros((count, 3, SIDE, SIDE))
            for image, label, latent in zip(pixels, labels, latents):
                image[:] = latent[3:6, None, None]
                top, left = (int(2 * v) + label for v in latent[6:8])
                patch = image[:, top : top + 3 + int(2 * latent[8]), left : left + 4]
                patch[:, :: 1 + (label == 1), :: 1 + (label == 2)] = latent[:3, None, None]
            noise = self.rng.normal(0, 0.05, pixels.shape)
            self.pixels[part] = np.clip(np.round((pixels + noise) * 255), 0, 255).astype(F)
            self.labels[part], self.latents[part] = labels, latents
        train = self.pixels["train"].astype(np.float64) / 255
        self.mean, self.deviation = (F(value) for value in (train.mean((0, 2, 3)), train.std((0, 2, 3))))

    def network(self):
        """Parameters and running statistics, all of them off their initial values."""
        shapes, inputs = {}, 3
        norms = [f"encoder.layers.{i}.norm" for i in range(len(CHANNELS))]
        counts = dict(zip(norms, CHANNELS))
        for i, outputs in enumerate(CHANNELS):
            shapes[f"encoder.layers.{i}.conv.weight"] = (outputs, inputs, 3, 3)
            inputs = outputs
        layers = {"head": (inputs, CLASSES)} if self.supervised else {"projector.hidden.0": (inputs, HIDDEN)}
        if not self.supervised:
            layers["projector.output"] = (HIDDEN, OUTPUT)
            if self.spec["model"]["projector"]["normalization"] == "batch":
                counts["projector.norms.0"] = HIDDEN
        for name, shape in layers.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[1:]}
        tensors = {name: self.rng.normal(0, 0.4, shape).astype(F) for name, shape in shapes.items()}
        for name, count in counts.items():
            for part, middle in (("gamma", 1.0), ("beta", 0.1), ("running_mean", 0.2), ("running_var", 1.0)):
                tensors[f"{name}.{part}"] = (middle + self.rng.uniform(-0.3, 0.3, count)).astype(F)
        return tensors

    def inputs(self, part, indices=None):
        """Normalised images."""
        pixels = self.pixels[part] if indices is None else self.pixels[part][indices]
        return (pixels / F(255) - self.mean[:, None, None]) / self.deviation[:, None, None]

    def views(self, part, indices):
        """Views: images in another brightness, with noise."""
        x = self.inputs(part, indices)
        views = [x * self.rng.uniform(0.6, 1.4, (len(x), 1, 1, 1)) + self.rng.normal(0, 0.2, x.shape) for _ in range(2)]
        return np.concatenate(views).astype(F)

    def step(self):
        """The tensors of one step and its loss."""
        indices = self.rng.permutation(TRAIN)[:BATCH]
        views, classes = self.views("train", indices), self.labels["train"][indices]
        views = views[:BATCH] if self.supervised else views
        before = self.states["before"]
        loss, gradients, running = Net(self.spec, before, self.flip).step(views, loss_function(self.spec, classes))
        tensors = {"views": views, "classes": classes.astype(F)}
        for state, of in (("before", before), ("gradient", gradients), ("after_forward", running)):
            tensors |= {f"{state}.{name}": value for name, value in of.items()}
        return tensors | updates(tensors), loss

    def state(self, name, end):
        """Scores of a network and its snapshot; views and features go to `end`."""
        spec, held_out = self.spec, self.parts["held_out"]
        net = Net(spec, self.states[name])
        features = {part: net.features(self.inputs(part))[0] for part in ("train", "test")}
        views = self.views("test", held_out)
        views = views[: len(held_out)] if self.supervised else views
        end |= {f"{name}.{k}": v for k, v in self.states[name].items()}
        end |= {f"{name}.held_out_views": views, f"{name}.test_features": features["test"]}
        z = net.embed(views)
        snapshot = {"loss": float(loss_function(spec, self.labels["test"][held_out])(z)[0])}
        snapshot |= dict.fromkeys(("positive_similarity", "negative_similarity"))
        if not self.supervised:
            u = [row / np.sqrt(row @ row) for row in z]
            n = len(held_out)
            cosines = [[float(u[i] @ u[n + j]) for j in range(n)] for i in range(n)]
            snapshot["positive_similarity"] = sum(cosines[i][i] for i in range(n)) / n
            apart = sum(cosines[i][j] for i in range(n) for j in range(n) if i != j)
            snapshot["negative_similarity"] = apart / (n * (n - 1))
            snapshot["outputs"] = making_signals.of_outputs(z[:n], z[n:])
            h = net.features(views)[0]
            snapshot["view_distances"] = {
                "features": making_signals.view_distance(h[:n], h[n:]), "outputs": making_signals.view_distance(z[:n], z[n:]),
            }
        voting, asked = self.parts["snapshot_train"], self.parts["snapshot_test"]
        train, test = features["train"][voting], features["test"][asked]
        snapshot["feature_rank"] = making_signals.rank(test)
        found = nearest(train, self.labels["train"][voting], test, spec)
        snapshot["knn_accuracy"] = float(np.mean(found == self.labels["test"][asked]))
        return features, snapshot

    def scores(self, features, labels=None):
        """kNN and probe."""
        labels, truth = self.labels["train"] if labels is None else labels, self.labels["test"]
        train, test = features["train"], features["test"]
        found = {"knn": nearest(train, labels, test, self.spec), "probe": linear_probe(train, labels, test)}
        return {name: score(predicted, truth) for name, predicted in found.items()}

    def baseline_features(self):
        """Pixels square by square, and the network before training."""
        squares = {}
        for part in ("train", "test"):
            x = self.inputs(part)
            places = [(i, j) for i in range(0, SIDE, 4) for j in range(0, SIDE, 4)]
            squares[part] = np.concatenate([x[:, :, i : i + 4, j : j + 4].mean((2, 3)) for i, j in places], 1)
        net = Net(self.spec, self.states["untrained"])
        return squares, {part: net.features(self.inputs(part))[0] for part in ("train", "test")}

    def analysis(self):
        """What is inside the last network, image by image and unit by unit."""
        net, part = Net(self.spec, self.states["last"]), self.parts["looked_into"]
        pixels = self.pixels["test"][part]
        r, g, b = pixels[:, 0], pixels[:, 1], pixels[:, 2]
        gray = np.round(F(0.299) * r + F(0.587) * g + F(0.114) * b)
        gray = (np.stack([gray] * 3, 1) / F(255) - self.mean[:, None, None]) / self.deviation[:, None, None]
        layers = []
        for i, (a, a_gray) in enumerate(zip(net.features(self.inputs("test", part))[1], net.features(gray)[1])):
            density = 0.0
            for image in a:
                means = [abs(float(unit.mean())) for unit in image]
                square = sum(m * m for m in means)
                density += sum(means) ** 2 / (len(means) * square) / len(a) if square else 0.0
            total = [np.abs(a[:, k]).sum() + np.abs(a_gray[:, k]).sum() for k in range(CHANNELS[i])]
            changed = [np.abs(a[:, k] - a_gray[:, k]).sum() / total[k] if total[k] else 0 for k in range(CHANNELS[i])]
            layers.append(
                {
                    "name": f"conv{i + 1}",
                    "zero_fraction": np.count_nonzero(a == 0) / a.size,
                    "density": density,
                    "color_selective_fraction": sum(c >= 0.5 for c in changed) / CHANNELS[i],
                }
            )
        fractions = []
        for w in self.states["last"]["encoder.layers.0.conv.weight"].astype(float):
            gray = sum(float(w[:, i, j].sum()) ** 2 / 3 for i in range(3) for j in range(3))
            fractions.append(1 - gray / float((w**2).sum()))
        return {"layers": layers, "filter_color_fractions": fractions, "perplexity": 3.0, "map_seed": 1, "map": []}

    def directions(self, features, end):
        """Colours and principal directions; the views go to `end`."""
        fitted, scored = self.parts["directions_train"], self.parts["directions_test"]
        x, x_test = (self.inputs(*of).reshape(len(of[1]), -1) for of in (("train", fitted), ("test", scored)))
        plane = SIDE * SIDE
        named = {"brightness": (1, 1, 1), "red − green": (1, -1, 0), "yellow − blue": (1, 1, -2)}
        rows = {name: np.concatenate([np.full(plane, c, F) for c in color]) for name, color in named.items()}
        principal = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:16]
        rows |= {f"PC {k + 1}": row for k, row in enumerate(principal)}
        views = [self.views("train", fitted) for _ in range(4)]
        end |= {f"direction_views.{k}": v for k, v in enumerate(views)}
        total, found = float(((x - x.mean(0)) ** 2).sum()), []
        for name, row in rows.items():
            row = row / F(np.linalg.norm(row))
            sides = [[v.reshape(2, len(x), -1)[half] @ row for v in views] for half in range(2)]
            along, along_test = (x @ row).astype(float), (x_test @ row).astype(float)
            kept = ridge(features["train"][fitted], along, features["test"][scored], along_test)
            found.append(
                {
                    "name": name,
                    "variance_fraction": along.var() * len(along) / total,
                    "view_correlation": float(np.corrcoef(*(np.concatenate(s).astype(float) for s in sides))[0, 1]),
                    "kept_r_squared": kept,
                }
            )
        return found

    def of_latents(self, features):
        """R² of latents, mean over their coordinates."""
        names = {"colour of the shape": range(3), "colour of the ground": range(3, 6), "position": (6, 7), "size": (8,)}
        train, test = (self.latents[part].astype(float) for part in ("train", "test"))
        r_squared = [ridge(features["train"], train[:, k], features["test"], test[:, k]) for k in range(9)]
        return [{"name": n, "kept_r_squared": float(np.mean([r_squared[k] for k in ks]))} for n, ks in names.items()]

    def evaluation(self, learning_rates):
        """The end of the run: its report, snapshots and tensors."""
        end = {f"untrained.{name}": value for name, value in self.states["untrained"].items()}
        if self.state("last", {})[1]["knn_accuracy"] > self.state("best", {})[1]["knn_accuracy"]:
            self.states |= {"last": self.states["best"], "best": self.states["last"]}
        found = {name: self.state(name, end) for name in ("last", "best")}
        features = found["last"][0]
        pixels, untrained = self.baseline_features()
        report = {name: self.scores(of[0]) for name, of in found.items()} | {"best_step": 6}
        report["baselines"] = {"pixels": self.scores(pixels), "untrained": self.scores(untrained)}
        report |= {"analysis": self.analysis(), "directions": self.directions(features, end)}
        report["latents"] = self.of_latents(features)
        end |= {f"latents_{part}": latents for part, latents in self.latents.items()}
        undefined = {"loss": 9.0, "positive_similarity": 0.5, "negative_similarity": None, "knn_accuracy": None}
        undefined |= {"feature_rank": 1.0, "outputs": dict.fromkeys(SIGNALS, 9.0), "view_distances": dict.fromkeys(("features", "outputs"), 9.0)}
        snapshots = [
            snapshot | {"step": step, "epoch": step // 3, "learning_rate": learning_rates[max(step - 1, 0)]}
            for step, snapshot in ((0, undefined), (6, found["best"][1]), (12, found["last"][1]))
        ]
        return report, snapshots, end

    def make(self):
        """The content of `run.json` and of the three files of tensors."""
        # Half an epoch of three steps rises for two, the nearest whole number, a half upwards.
        rates = [0.05, 0.1] + [0.1 * (1 + np.cos(np.pi * k / 10)) / 2 for k in range(10)]
        step, loss = self.step()
        report, snapshots, end = self.evaluation(rates)
        run = {"kind": "images", "spec": self.spec, "seed": 1, "step": STEP, "loss": loss, "learning_rates": rates}
        run |= {"optimizers": OPTIMIZERS, "snapshots": snapshots, "evaluation": report, "parts": self.parts}
        gradient = [value for name, value in step.items() if name.startswith("gradient.")]
        run["gradient_norm"] = float(np.sqrt(sum((g.astype(float) ** 2).sum() for g in gradient)))
        run |= {"channel_mean": self.mean.tolist(), "channel_std": self.deviation.tolist()}
        images = {f"{part}_pixels": pixels for part, pixels in self.pixels.items()}
        images |= {f"{part}_labels": labels for part, labels in self.labels.items()}
        return plain(run), images, step, end


def updates(tensors, mistakes=None):
    """Two updates by each optimizer, with the mistakes of those that are named."""
    found = {}
    for optimizer in OPTIMIZERS:
        name = optimizer["name"]
        for key, g in tensors.items():
            if key.startswith("gradient."):
                parameter = key.removeprefix("gradient.")
                w = tensors[f"before.{parameter}"]
                for k, after in enumerate(updated(optimizer, w, g, (mistakes or {}).get(name)), 1):
                    found[f"{name}.{k}.{parameter}"] = after
    return found


# Files


def save(path, tensors):
    """Writes safetensors by hand."""
    header, body = {}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def plain(run):
    """A copy that JSON can take."""
    return json.loads(json.dumps(run, default=float))


class CheckImages(unittest.TestCase):
    """Exit status and table."""

    @classmethod
    def setUpClass(cls):
        cls.maker = Maker()
        cls.made = cls.maker.make()

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.take(self.made)

    def take(self, made):
        """A copy of what was made, to be written."""
        run, *files = made
        self.run_json = plain(run)
        self.images, self.step, self.end = ({k: np.array(v) for k, v in tensors.items()} for tensors in files)

    def status(self):
        """Writes the folder and checks it."""
        (self.folder / "run.json").write_text(json.dumps(self.run_json))
        for name in ("images", "step", "end"):
            save(self.folder / f"{name}.safetensors", getattr(self, name))
        return self.check()

    def check(self):
        """Exit status; what was printed is kept."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = check_images.main([str(self.folder)])
        self.printed, self.complaint = out.getvalue(), err.getvalue()
        return status

    def assert_accepted(self):
        """All agrees."""
        status = self.status()
        self.assertEqual(status, 0, self.printed + self.complaint)

    def assert_wrong(self, *names, also=()):
        """Lines that begin with these names are wrong, and no others than perhaps those that begin with `also`."""
        status = self.status()
        self.assertEqual(status, 1, self.printed + self.complaint)
        wrong = [line for line in self.printed.splitlines() if line.endswith("WRONG")]
        for name in names:
            self.assertTrue(any(line.startswith(name) for line in wrong), f"{name}\n{self.printed}")
        self.assertTrue(all(line.startswith((*names, *also)) for line in wrong), self.printed)

    def assert_refused(self, complaint):
        """Nothing is compared, for this reason."""
        self.assertEqual(self.status(), 2, self.printed + self.complaint)
        self.assertIn(complaint, self.complaint)

    def tolerance(self, name):
        """What was allowed in a line."""
        (line,) = [line for line in self.printed.splitlines() if line.startswith(f"{name}  ")]
        return float(line.split()[-2])

    # What is right

    def test_a_right_run_is_accepted(self):
        self.assert_accepted()
        self.assertNotIn("WRONG", self.printed)
        # With no image near two classes whole numbers have to be the same.
        for state in ("last", "best"):
            for name in (
                "knn: accuracy",
                "knn: confusion",
                "probe: accuracy",
                "probe: confusion",
                "knn of its snapshot",
            ):
                self.assertLess(self.tolerance(f"{state}: {name}"), 1e-8)

    def test_other_objectives_activations_and_projectors_are_accepted(self):
        for case in (
            ("supervised", RELU, "none"),
            ("supervised", SYMMETRIC, "none"),
            (NT_XENT, SYMMETRIC, "batch"),
            (info_nce("inner_product", "stopped", "temperature"), SYMMETRIC, "none"),
            (info_nce("inner_product", "flows", "one"), RELU, "batch"),
            (info_nce("cosine", "stopped", "one"), RELU, "none"),
            (info_nce("cosine", "flows", "temperature"), SYMMETRIC, "batch"),
        ):
            with self.subTest(case):
                self.take(Maker(*case).make())
                self.assert_accepted()

    def test_runs_without_baselines_analysis_and_latents_are_accepted(self):
        self.run_json["spec"]["evaluation"] |= {"baselines": False, "analysis": False}
        self.run_json["spec"]["data"]["images"]["dataset"] = "cifar10"
        self.run_json["evaluation"] |= dict.fromkeys(("baselines", "analysis", "directions", "latents"))
        self.end = {name: tensor for name, tensor in self.end.items() if name.startswith(("last.", "best."))}
        self.assert_accepted()

    def test_undefined_numbers_are_compared_with_undefined_ones(self):
        # Gray images do not vary along colours.
        maker = Maker()
        for part, pixels in maker.pixels.items():
            maker.pixels[part] = np.repeat(pixels[:, :1], 3, 1)
        maker.mean, maker.deviation = maker.mean[[0, 0, 0]], maker.deviation[[0, 0, 0]]
        views = maker.views
        maker.views = lambda part, indices: np.repeat(views(part, indices)[:, :1], 3, 1)
        maker.latents["test"][:, 8] = 0.5
        with np.errstate(invalid="ignore", divide="ignore"):
            self.take(maker.make())
        for direction in self.run_json["evaluation"]["directions"][1:3]:
            direction |= {"variance_fraction": 0.0, "view_correlation": None, "kept_r_squared": None}
        self.run_json["evaluation"]["latents"][3]["kept_r_squared"] = None
        self.assert_accepted()
        self.assertIn("red − green: view_correlation (undefined)", self.printed)
        self.run_json["evaluation"]["directions"][1]["view_correlation"] = 0.0
        self.run_json["evaluation"]["latents"][3]["kept_r_squared"] = 0.0
        self.assert_wrong("red − green: view_correlation", "size: kept_r_squared")

    # The step

    def test_a_tensor_of_the_gradient_one_percent_off_is_wrong(self):
        for name in [name for name in self.step if name.startswith("gradient.")]:
            with self.subTest(name):
                self.take(self.made)
                self.step[name] *= F(1.01)
                self.step |= updates(self.step)
                of_name = name.removeprefix("gradient.")
                self.assert_wrong(
                    f"gradient, worst tensor: {of_name}", "gradient, worst entry", also=["gradient, whole"]
                )

    def test_one_entry_of_the_gradient_one_percent_off_is_wrong(self):
        for layer in (0, 1):
            self.take(self.made)
            name = f"encoder.layers.{layer}.conv.weight"
            gradient = self.step[f"gradient.{name}"]
            gradient.flat[np.abs(gradient).argmax()] *= F(1.01)
            self.step |= updates(self.step)
            self.assert_wrong(f"gradient, worst entry: {name}", also=["gradient"])

    def test_updates_that_were_made_from_another_gradient_are_wrong(self):
        self.step["gradient.projector.output.weight"] *= F(1.01)
        self.assert_wrong("gradient, worst tensor", "sgd", "plain", "lars", also=["gradient"])

    def test_a_loss_one_in_a_thousand_off_is_wrong(self):
        self.run_json["loss"] *= 1.001
        self.assert_wrong("loss")

    def test_running_statistics_that_are_off_are_wrong(self):
        at = "after_forward.encoder.layers.1.norm.running"
        self.step[f"{at}_mean"][2] += F(1e-4)
        self.assert_wrong("running_mean behind the step")
        self.take(self.made)
        # The unbiased variance of 16 images of 4 × 4 pixels.
        before = self.step[f"{at}_var".replace("after_forward", "before")]
        after = self.step[f"{at}_var"]
        after += (after - F(0.9) * before) * F(1 / 255)
        self.assert_wrong("running_var behind the step")

    def test_a_tensor_that_the_network_does_not_have_is_wrong(self):
        self.step["before.head.weight"] = np.zeros((6, 3), F)
        self.assert_wrong("tensors of a step")

    def test_updates_with_mistakes_are_wrong(self):
        both, second = ("update 1", "update 2"), ("update 2",)
        for name, mistake, lines in (
            ("sgd", "decays vectors", both),
            ("plain", "decays vectors", both),
            ("adamw", "decays vectors", both),
            ("lars", "decays vectors", both),
            ("adamw", "bias is not corrected", both),
            ("adamw", "rates exchanged", second),
            ("sgd", "dampened", second),
            ("plain", "dampened", second),
            ("lars", "dampened", second),
            *((optimizer["name"], "a percent too long", both) for optimizer in OPTIMIZERS),
        ):
            with self.subTest((name, mistake)):
                self.take(self.made)
                self.step |= updates(self.step, {name: mistake})
                self.assert_wrong(*(f"{name}, {line}" for line in lines))

    def test_an_input_within_rounding_of_zero_may_count_on_either_side_and_no_other(self):
        maker, at = Maker(), (3, 1, 2, 4)
        step, _ = maker.step()
        views, before = step["views"], maker.states["before"]
        w, gamma, beta, *_ = (v.astype(float) for v in Net(maker.spec, before).layer(0))
        h = conv(views.astype(float), w, STRIDES[0])
        u = norm(h, h.mean((0, 2, 3)), h.var((0, 2, 3)), gamma, beta)
        beta = before["encoder.layers.0.norm.beta"]
        near, far = beta.copy(), beta.copy()
        near[at[1]] -= F(u[at])
        far[at[1]] -= F(u[at] + 1e-4)
        for of, flip, accepted in ((near, None, True), (near, (0, at), True), (far, None, True), (far, (0, at), False)):
            maker = Maker(flip=flip)
            maker.states["before"]["encoder.layers.0.norm.beta"] = of
            self.take(maker.make())
            if accepted:
                self.assert_accepted()
                self.assertEqual(self.tolerance("derivatives that rounding decided"), float(of is near))
            else:
                self.assert_wrong("gradient, worst tensor", also=["gradient"])

    # The end

    def test_running_statistics_of_the_best_network_in_the_last_are_wrong(self):
        for name in self.end:
            if name.startswith("last.") and "running" in name:
                self.end[name] = self.end[name.replace("last.", "best.")]
        wrong = [f"last: {name}" for name in ("test features", "held-out loss", "positive_similarity")]
        kept = [f"{d['name']}: kept" for d in self.run_json["evaluation"]["directions"]]
        latents = [f"{d['name']}: kept" for d in self.run_json["evaluation"]["latents"]]
        layers = [f"conv{i}: {name}" for i in (1, 2) for name in ("zero_fraction", "density")]
        self.assert_wrong(*wrong, *layers, *latents, "brightness: kept", also=["last:", "conv", *kept])

    def test_scores_with_permuted_labels_are_wrong(self):
        maker = self.maker
        labels = np.random.default_rng(3).permutation(maker.labels["train"])
        for state in ("last", "best"):
            self.take(self.made)
            net = Net(maker.spec, maker.states[state])
            features = {part: net.features(maker.inputs(part))[0] for part in ("train", "test")}
            self.run_json["evaluation"][state] = maker.scores(features, labels)
            self.assert_wrong(f"{state}: knn: confusion", f"{state}: probe: confusion", also=[f"{state}: "])

    def test_an_image_taken_for_another_class_is_wrong(self):
        for path, name in (
            ("last.knn", "last: knn"),
            ("best.knn", "best: knn"),
            ("last.probe", "last: probe"),
            ("baselines.pixels.knn", "pixels: knn"),
            ("baselines.untrained.knn", "untrained: knn"),
        ):
            with self.subTest(path):
                self.assert_accepted()
                unsure = int(self.tolerance(f"{name}: confusion"))
                found = self.run_json["evaluation"]
                for key in path.split("."):
                    found = found[key]
                for _ in range(unsure + 1):
                    row = max(range(CLASSES), key=lambda c: found["confusion"][c][c])
                    found["confusion"][row][row] -= 1
                    found["confusion"][row][row - 1] += 1
                    found["accuracy"] -= 1 / TEST
                self.assert_wrong(f"{name}: accuracy", f"{name}: confusion")
                self.take(self.made)

    def test_an_accuracy_that_is_not_that_of_the_confusion_is_wrong(self):
        self.run_json["evaluation"]["last"]["knn"]["accuracy"] += 1 / TEST
        self.assert_wrong("last: knn: accuracy", "last: knn: accuracy of the confusion")

    def test_reported_numbers_that_are_off_are_wrong(self):
        for path, change, name in (
            ("learning_rates.4", 1e-6, "learning rates"),
            ("channel_mean.1", 1e-6, "channel_mean"),
            ("channel_std.2", -1e-6, "channel_std"),
            ("snapshots.1.learning_rate", 1e-6, "snapshots: learning_rate"),
            ("snapshots.1.epoch", 1, "snapshots: epoch"),
            ("snapshots.1.loss", 1e-3, "best: held-out loss"),
            ("snapshots.2.loss", -1e-3, "last: held-out loss"),
            ("snapshots.2.positive_similarity", 1e-3, "last: positive_similarity"),
            ("snapshots.1.negative_similarity", 1e-3, "best: negative_similarity"),
            ("snapshots.2.knn_accuracy", -1 / 9, "last: knn of its snapshot"),
            ("snapshots.1.feature_rank", 0.01, "best: feature_rank"),
            ("snapshots.2.outputs.effective_rank", 0.01, "last: effective_rank"),
            ("snapshots.1.outputs.spread", 0.003, "best: spread"),
            ("snapshots.2.outputs.alignment", 0.003, "last: alignment"),
            ("snapshots.2.outputs.uniformity", -0.005, "last: uniformity"),
            ("snapshots.1.view_distances.features", 0.003, "best: view distance of features"),
            ("snapshots.2.view_distances.outputs", 0.003, "last: view distance of outputs"),
            ("gradient_norm", 0.1, "snapshot: gradient_norm"),
            ("evaluation.best_step", 6, "best_step"),
            ("evaluation.analysis.layers.0.zero_fraction", 1e-3, "conv1: zero_fraction"),
            ("evaluation.analysis.layers.1.density", 1e-3, "conv2: density"),
            ("evaluation.analysis.layers.0.color_selective_fraction", 1 / CHANNELS[0], "conv1: color_selective_fraction"),
            ("evaluation.analysis.filter_color_fractions.3", 1e-6, "filter_color_fractions"),
            ("evaluation.directions.0.variance_fraction", 1e-3, "brightness: variance_fraction"),
            ("evaluation.directions.1.view_correlation", 1e-3, "red − green: view_correlation"),
            ("evaluation.directions.2.kept_r_squared", 2e-3, "yellow − blue: kept_r_squared"),
            ("evaluation.directions.3.view_correlation", 1e-3, "PC 1: view_correlation"),
            ("evaluation.directions.3.kept_r_squared", 2e-3, "PC 1: kept_r_squared"),
            ("evaluation.latents.0.kept_r_squared", 2e-3, "colour of the shape: kept_r_squared"),
            ("evaluation.latents.3.kept_r_squared", 2e-3, "size: kept_r_squared"),
        ):
            with self.subTest(path):
                self.take(self.made)
                *above, last = (int(key) if key.isdigit() else key for key in path.split("."))
                place = self.run_json
                for key in above:
                    place = place[key]
                place[last] += change
                self.assert_wrong(name)

    def test_a_warm_up_that_is_a_step_longer_is_wrong(self):
        cosine = [0.1 * (1 + np.cos(np.pi * k / 9)) / 2 for k in range(9)]
        self.run_json["learning_rates"] = [0.1 / 3, 0.2 / 3, 0.1, *cosine]
        self.assert_wrong("learning rates")

    def test_of_equally_good_snapshots_the_first_is_the_best(self):
        self.run_json["snapshots"][0]["knn_accuracy"] = self.run_json["snapshots"][1]["knn_accuracy"]
        self.assert_wrong("best_step", also=["best:"])

    def test_parts_that_are_drawn_otherwise_are_wrong(self):
        parts = self.run_json["parts"]
        of_class = sorted(range(TRAIN), key=lambda i: self.maker.labels["train"][i])
        parts["snapshot_train"] = sorted(of_class[:16])
        lines = ("parts of train: classes out of proportion", "parts of train: snapshot's of another order")
        self.assert_wrong(*lines, also=["last: knn of its", "best: knn of its", "best_step"])
        self.take(self.made)
        self.run_json["parts"]["snapshot_test"].reverse()
        self.assert_wrong("parts of test: snapshot's not sorted")
        self.take(self.made)
        order = self.run_json["parts"]["held_out"]
        order[0], order[1] = order[1], order[0]
        self.assert_wrong("parts of test: not in one order")

    def test_pixels_that_are_not_bytes_are_wrong(self):
        self.images["test_pixels"][0, 0, 0, 0] += F(0.25)
        self.assert_wrong("pixels other than 0 to 255", also=["last", "best", "conv", "pixels", "untrained"])

    def test_directions_that_are_missing_are_wrong(self):
        self.run_json["evaluation"]["directions"].pop()
        self.assert_wrong("directions that are missing")

    # Files

    def test_missing_or_damaged_files_are_named(self):
        self.assert_accepted()
        for name in ("run.json", "images.safetensors", "step.safetensors", "end.safetensors"):
            path = self.folder / name
            data = path.read_bytes()
            for content in (data[: len(data) // 2], data[:5], data[:20], b"\xff" * 8 + data[8:], b""):
                path.write_bytes(content)
                self.assertEqual(self.check(), 2)
                self.assertIn(name, self.complaint)
            path.unlink()
            self.assertEqual(self.check(), 2)
            self.assertIn(f"{name}: cannot be read", self.complaint)
            path.write_bytes(data)
        self.assertEqual(self.check(), 0)

    def test_missing_tensors_and_those_of_another_shape_are_named(self):
        for file, name in (
            ("images", "train_labels"),
            ("step", "views"),
            ("step", "before.encoder.layers.1.norm.running_var"),
            ("step", "gradient.projector.hidden.0.bias"),
            ("step", "after_forward.encoder.layers.0.norm.running_mean"),
            ("step", "lars.2.projector.output.weight"),
            ("end", "best.encoder.layers.0.norm.gamma"),
            ("end", "last.encoder.layers.0.conv.weight"),
            ("end", "last.held_out_views"),
            ("end", "direction_views.3"),
            ("end", "latents_test"),
        ):
            with self.subTest(name):
                self.take(self.made)
                tensors = getattr(self, file)
                tensors[name] = tensors[name][:-1]
                self.assert_refused(f"{file}.safetensors: {name} has shape")
                del tensors[name]
                self.assert_refused(f"{file}.safetensors: there is no tensor {name}")

    def test_numbers_that_are_missing_or_of_another_kind_are_named(self):
        for path, value, complaint in (
            ("kind", "observations", "only images are covered"),
            ("spec.objective", "masked", "an objective masked is not covered"),
            ("spec.model.encoder", {"vision_transformer": {}}, "an encoder vision_transformer is not covered"),
            ("spec.model.projector.hidden_dims", [7, 7], "a projector of 2 hidden layers is not covered"),
            ("spec.optimization.learning_rate", {"staircase": {}}, "a learning rate staircase is not covered"),
            ("spec.optimization.batch_size", 2.5, "spec.optimization.batch_size"),
            ("snapshots", [], "0 snapshots instead of 3"),
            ("learning_rates", [0.1], "learning_rates must hold 12 numbers"),
            ("parts.held_out", [0] * BATCH, "parts.held_out"),
            ("evaluation.last.knn.confusion", [[1]], "confusion"),
            ("evaluation.directions", [{"name": "PC 1"}], "evaluation.directions are others"),
            ("loss", None, "loss is None, not a number"),
        ):
            with self.subTest(path):
                self.take(self.made)
                *above, last = path.split(".")
                place = self.run_json
                for key in above:
                    place = place[key]
                place[last] = value
                self.assert_refused(complaint.removeprefix("spec."))
                del place[last]
                self.assertEqual(self.status(), 2)


class Drawn:
    """Tensors that are drawn when they are asked for, as a file of them."""

    path = "drawn"

    def __init__(self, stem, seed):
        self.rng, self.arrays = np.random.default_rng(seed), {f"state.encoder.{stem}": None}

    def get(self, name, *shape):
        """The tensor of that name."""
        if self.arrays.get(name) is None:
            middle = float(name.endswith(("gamma", "running_var")))
            spread = (0.4 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))) * self.rng.uniform(-1, 1, shape)
            self.arrays[name] = middle + spread
        return self.arrays[name]


def encoders(last_activation):
    """One of each kind, as small as they come."""
    return [
        {"small_conv_net": {"channels": [4, 3], "strides": [1, 2], "last_activation": last_activation}},
        {"resnet18": {"width": 2, "last_activation": last_activation}},
        {"wide_resnet": {"depth": 16, "widen_factor": 1, "last_activation": last_activation}},
    ]


class Networks(unittest.TestCase):
    """The networks and losses of the check itself."""

    def network(self, encoder, objective=NT_XENT, normalization="none", training=True):
        """A network with parameters that are drawn."""
        spec = specification(encoder, objective, normalization)
        drawn = Drawn(check_images.STEMS[next(iter(encoder))], 4)
        return spec, check_images.Network(spec, drawn, "state", training=training)

    def test_gradients_of_networks_are_those_of_differences(self):
        rng = np.random.default_rng(8)
        images, classes = rng.normal(0, 1, (6, 3, SIDE, SIDE)), np.array([0, 2, 1, 1, 0, 2])
        for last_activation in (RELU, SYMMETRIC):
            for encoder in encoders(last_activation):
                for objective, normalization in ((NT_XENT, "batch"), (NT_XENT, "none"), ("supervised", "none")):
                    if "small_conv_net" not in encoder and normalization == "none" and objective != "supervised":
                        continue
                    with self.subTest((encoder, objective, normalization)):
                        made = self.network(encoder, objective, normalization)
                        self.assert_gradient(*made, images, classes, rng)

    def assert_gradient(self, spec, network, images, classes, rng):
        """Along a direction in each tensor: what the loss changes by between two points close to each other."""

        def loss():
            value = check_images.loss_of(spec, network.embed(images), classes)
            return value, [node.slope for _, node in network.rectified]

        at, _ = loss()
        gradients = check_images.backward({at: 1.0})
        for name, node in network.parameters.items():
            direction, value = rng.normal(0, 1, node.value.shape), node.value
            # So close that no input passes a jump of a derivative.
            for h in (1e-6, 1e-7, 1e-8):
                sides = []
                for sign in (1, -1):
                    node.value = value + sign * h * direction
                    sides.append(loss())
                node.value = value
                if all(np.array_equal(*slopes) for slopes in zip(*(slopes for _, slopes in sides))):
                    break
            expected = float(sides[0][0].value - sides[1][0].value) / (2 * h)
            found = float((gradients[node] * direction).sum())
            # The loss is rounded to 1e-15; its third derivative comes in with h².
            self.assertLess(abs(found - expected), 1e-14 / h + 1e-6 * (1 + abs(expected)), name)

    def test_gradients_of_losses_are_those_of_differences(self):
        rng = np.random.default_rng(9)
        values, classes = rng.normal(0, 1, (CLASSES, 8)), rng.integers(0, CLASSES, 8)
        options = [
            (s, k, f) for s in ("inner_product", "cosine") for k in ("stopped", "flows") for f in ("temperature", "one")
        ]
        for objective in (NT_XENT, "supervised", *(info_nce(*option) for option in options)):
            with self.subTest(objective):
                stopped = (
                    objective not in (NT_XENT, "supervised") and objective["info_nce"]["key_gradient"] == "stopped"
                )
                self.assert_loss_gradient({"objective": objective}, values, classes, stopped)

    def assert_loss_gradient(self, spec, values, classes, stopped):
        """Entry by entry; keys that pass no gradient have none, and that of the queries is not theirs."""

        def loss(values):
            return check_images.loss_of(spec, check_images.Node(values, wanted=True), classes)

        at = loss(values)
        gradients = check_images.backward({at: 1.0})
        (found,) = [gradients[node] for node in gradients if not node.parents]
        expected = np.zeros_like(values)
        for place in np.ndindex(*values.shape):
            h = np.zeros_like(values)
            h[place] = 1e-6
            expected[place] = float(loss(values + h).value - loss(values - h).value) / 2e-6
        if stopped:
            expected[:, values.shape[1] // 2 :] = 0
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)

    def test_losses_have_the_values_of_plain_loops(self):
        rng = np.random.default_rng(10)
        values, classes = rng.normal(0, 1, (CLASSES, 8)), rng.integers(0, CLASSES, 8)
        for objective in (
            NT_XENT,
            "supervised",
            info_nce("cosine", "flows", "one"),
            info_nce("inner_product", "stopped", "temperature"),
        ):
            spec = {"objective": objective}
            found = check_images.loss_of(spec, check_images.Node(values), classes)
            self.assertAlmostEqual(float(found.value), float(loss_function(spec, classes)(values.T)[0]), places=6)

    def test_rows_of_zeros_have_a_loss_and_no_gradient(self):
        node = check_images.Node(np.array([[0.0, 1.0], [0.0, 2.0]]), wanted=True)
        unit = check_images.unit_columns(node)
        np.testing.assert_array_equal(unit.value[:, 0], 0)
        np.testing.assert_array_equal(check_images.backward({unit: np.ones((2, 2))})[node][:, 0], 0)

    def test_features_of_residual_networks_are_those_of_plain_loops(self):
        images = np.random.default_rng(11).normal(0, 1, (3, 3, 2 * SIDE, 2 * SIDE))
        for last_activation in (RELU, SYMMETRIC):
            threshold = None if last_activation == RELU else 0.25
            for encoder, plain_layers in zip(encoders(last_activation)[1:], (resnet18, wide_resnet)):
                _, network = self.network(encoder, training=False)
                found = network.encode(images)
                layers = plain_layers(images, network.tensors.arrays, threshold)
                named = [(name, node.value) for name, node in network.rectified if name]
                self.assertEqual([name for name, _ in named], list(layers))
                for name, value in named:
                    np.testing.assert_allclose(np.moveaxis(value, 0, 1), layers[name], rtol=0, atol=1e-10)
                np.testing.assert_allclose(found.value.T, layers[name].mean((2, 3)), rtol=0, atol=1e-10)

    def test_images_without_color_are_whole_numbers_of_luma(self):
        # 0.299 · 255 = 76.2, 0.587 · 255 = 149.7, 0.114 · 255 = 29.1; 0.299 · 2 = 0.6.
        pixels = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [2, 0, 0], [9, 9, 9]], float)[:, :, None, None]
        gray = check_images.without_color(pixels)[:, :, 0, 0]
        np.testing.assert_array_equal(gray, np.repeat([[76], [150], [29], [1], [9]], 3, axis=1))

    def test_classes_that_do_not_occur_do_not_change_a_probe(self):
        rng = np.random.default_rng(12)
        train, test = rng.normal(0, 1, (60, 5)), rng.normal(0, 1, (4000, 5))
        labels = np.where(train[:, 0] + rng.normal(0, 1, 60) > 0, 2, 0)
        found = check_images.probe(train, labels, test)
        sure = ~found.unsure
        self.assertGreater(np.mean(sure), 0.99)
        np.testing.assert_array_equal(found.predicted[sure], linear_probe(train, labels, test)[sure])
        one = check_images.probe(train, np.full(60, 1), test)
        self.assertTrue((one.predicted == 1).all() and not one.unsure.any())

    def test_votes_that_rounding_may_decide_are_told(self):
        spec = specification({}) | {"evaluation": {"neighbors": 2, "temperature": 0.1}}
        labels = np.array([2, 1, 0, 0])
        near = 0.3 * check_images.cosine_error(9)
        for cosines, expected, unsure in (
            ([0.9, 0.5, 0.4, 0.3], 2, False),
            # Two that vote for the same class may change places with each other, and with the third if it is as near.
            ([0.1, 0.2, 0.9, 0.9 + near], 0, False),
            ([0.1, 0.9 - near, 0.9, 0.9 + near], 0, True),
            # Equal votes: the smaller class, unless rounding decides.
            ([0.9, 0.9 + near, 0.4, 0.3], 1, True),
            ([0.9, 0.9, 0.4, 0.3], 1, True),
            # Which of two votes does not matter where another has more than both.
            ([0.95, 0.1, 0.6, 0.6 - near], 2, False),
        ):
            with self.subTest(cosines):
                predicted, told = check_images.vote(spec, np.array([cosines]), labels, 9)
                self.assertEqual((predicted[0], told[0]), (expected, unsure))


def resnet18(x, tensors, threshold):
    """The activations of ResNet-18 layer by layer, with running moments."""

    def conv_norm(x, conv_name, norm_name, stride):
        t = [tensors[f"state.encoder.{norm_name}.{k}"] for k in ("running_mean", "running_var", "gamma", "beta")]
        mean, variance, gamma, beta = t
        h = conv(x, tensors[f"state.encoder.{conv_name}.weight"], stride)
        return (h - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None] * gamma[:, None, None] + beta[
            :, None, None
        ]

    x = np.maximum(conv_norm(x, "conv1", "bn1", 1), 0)
    layers = {"conv1": x}
    for name in [f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in (0, 1)]:
        stride = 2 if name in ("layer2.0", "layer3.0", "layer4.0") else 1
        h = np.maximum(conv_norm(x, f"{name}.conv1", f"{name}.bn1", stride), 0)
        h = conv_norm(h, f"{name}.conv2", f"{name}.bn2", 1)
        if stride == 2:
            x = conv_norm(x, f"{name}.downsample.conv", f"{name}.downsample.norm", 2)
        x = rectify(h + x, threshold if name == "layer4.1" else None)[0]
        layers[name] = x
    return layers


def wide_resnet(x, tensors, threshold):
    """The activations of a Wide-ResNet of 16 layers, without widening, with running moments."""

    def norm_relu(h, name, threshold=None):
        t = [tensors[f"state.encoder.{name}.{k}"] for k in ("running_mean", "running_var", "gamma", "beta")]
        mean, variance, gamma, beta = (v[:, None, None] for v in t)
        return rectify((h - mean) / np.sqrt(variance + 1e-5) * gamma + beta, threshold)[0]

    def weight(name):
        return tensors[f"state.encoder.{name}.weight"]

    h = conv(x, weight("conv1"), 1)
    layers, before = {}, "conv1"
    for name in [f"block{group}.{i}" for group in (1, 2, 3) for i in (0, 1)]:
        stride = 2 if name in ("block2.0", "block3.0") else 1
        layers[before], before = norm_relu(h, f"{name}.bn1"), name
        a = layers[list(layers)[-1]]
        if stride == 2:
            h = conv(a, weight(f"{name}.shortcut"), 2)
        h = h + conv(norm_relu(conv(a, weight(f"{name}.conv1"), stride), f"{name}.bn2"), weight(f"{name}.conv2"), 1)
    return layers | {before: norm_relu(h, "norm", threshold)}


if __name__ == "__main__":
    unittest.main()
