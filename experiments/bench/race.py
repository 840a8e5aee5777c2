#!/usr/bin/env python3
"""Runs this program and the same step in PyTorch and JAX in turn and prints the ratios of their speeds, round by round.

    python3 experiments/bench/race.py                      # after cargo build --release, with torch and jax installed
    python3 experiments/bench/race.py --rounds 5 --compile --peers torch

In each round all take every number of threads, and the better of each counts. All must reach the same state after the
same steps: energy in span(M) and coverage, means over the rounds' seeds, within 0.02; otherwise the race is void and the exit status is 1.
JAX runs on the steps on vectors alone. The steps on images and on sentences are raced with PyTorch, on speed alone: `tests/python/check_images.py` and `check_text.py` recompute their runs.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
TOLERANCE = 0.02
SENTENCES, WORDS = 128, 24  # of a batch and of a sentence of text.toml
SHAPES = {  # name of the point: what torch_step.py needs to know of it
    "d32": ["--code-dim=32", "--input-dim=256", "--neurons=64", "--batch=256", "--steps=2050", "--noise-std=0.24128", "--step-size=1.0", "--cap-ratio=1.7"],
    "d64": ["--code-dim=64", "--input-dim=1024", "--neurons=128", "--batch=512", "--steps=1500", "--noise-std=0.18276", "--step-size=2.0", "--cap-ratio=1.8"],
    "d64-wide": ["--code-dim=64", "--input-dim=1024", "--neurons=512", "--batch=512", "--steps=350", "--noise-std=0.18276", "--step-size=2.0", "--cap-ratio=1.8"],
}


def output_of(command, **environment):
    done = subprocess.run(command, cwd=TOP, env=os.environ | environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def ours(point, seed, threads):
    timing = output_of([given.program, "bench", "--point", point, "--seed", str(seed), "--threads", str(threads), "--json"])[0]
    return {"steps_per_second": timing["steps_per_second"], **timing["state"]}


def torch(point, seed, threads):
    extra = ["--compile"] if given.compile else []
    return output_of([sys.executable, HERE / "torch_step.py", *SHAPES[point], f"--seed={seed}", f"--threads={threads}", *extra])


def jax(point, seed, threads, *extra):
    return output_of([sys.executable, HERE / "jax_step.py", *SHAPES[point], f"--seed={seed}", f"--threads={threads}", *extra])


PEERS = {"torch": torch, "jax": jax}


def race(point):
    programs = {"ours": ours} | {peer: PEERS[peer] for peer in given.peers}
    ratios, states = {peer: [] for peer in given.peers}, {name: [] for name in programs}
    for round_number in range(given.rounds):
        seed, best = 401 + round_number, {}
        for name in list(programs) if round_number % 2 == 0 else list(programs)[::-1]:
            runs = {threads: programs[name](point, seed, threads) for threads in given.threads}
            states[name].extend(runs.values())
            best[name] = {threads: run["steps_per_second"] for threads, run in runs.items()}
        for peer in given.peers:
            ratios[peer].append(max(best["ours"].values()) / max(best[peer].values()))
        speeds = "  ".join(f"{name} " + " / ".join(f"{v:.0f}" for v in best[name].values()) for name in programs)
        print(f"{point:9} round {round_number + 1}: {speeds} steps/s, " + ", ".join(f"{ratios[peer][-1]:.2f} of {peer}" for peer in given.peers), flush=True)
    for peer in given.peers:
        print(f"{point:9} ratio to {peer}: median {statistics.median(ratios[peer]):.2f}, range {min(ratios[peer]):.2f} to {max(ratios[peer]):.2f}")
    same = True
    for measure in ["energy_in_span", "coverage_mean"]:
        means = {name: statistics.mean(run[measure] for run in runs) for name, runs in states.items()}
        close = all(abs(means["ours"] - means[peer]) <= TOLERANCE for peer in given.peers)
        same &= close
        print(f"{point:9} {measure}: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()) + ("" if close else "  DIFFERENT: the race is void"))
    return same


def race_speeds(point, unit, speed):
    """On speed alone."""
    ratios = []
    for round_number in range(given.rounds):
        best = {}
        for name in ["ours", "torch"] if round_number % 2 == 0 else ["torch", "ours"]:
            best[name] = {threads: speed(name, threads) for threads in given.threads}
        ratios.append(max(best["ours"].values()) / max(best["torch"].values()))
        speeds = "  ".join(f"{name} " + " / ".join(f"{v:.0f}" for v in best[name].values()) for name in best)
        print(f"{point:9} round {round_number + 1}: {speeds} {unit}/s, ratio {ratios[-1]:.2f}", flush=True)
    print(f"{point:9} ratio: median {statistics.median(ratios):.2f}, range {min(ratios):.2f} to {max(ratios):.2f}")


def images_per_second(point, *options):
    """A SimCLR step: network, loss and update, and with `--views` the views as well."""

    def speed(name, threads):
        if name == "torch":
            extra = ["--compile"] if given.compile else []
            return output_of([sys.executable, HERE / "torch_images_step.py", f"--threads={threads}", *options, *extra])["images_per_second"]
        timing = output_of([given.program, "bench", "--point", point, "--threads", str(threads), "--json"])[0]
        if "--views" in options:
            return timing["images_per_second"]
        return timing["batch_size"] / (timing["part_s"]["gradient"] + timing["part_s"]["update"])

    return speed


def tokens_per_second(name, threads):
    """Contrast on sentences: encoder, loss, update, momentum copy and queue."""
    if name == "torch":
        return output_of([sys.executable, HERE / "torch_text_step.py", f"--threads={threads}"])["tokens_per_second"]
    timing = output_of([given.program, "bench", "--point", "text", "--threads", str(threads), "--json"])[0]
    return 2 * SENTENCES * WORDS / (timing["part_s"]["gradient"] + timing["part_s"]["update"])


def five_seeds():
    """Wall time of five seeds of the first shape to the end: two at a time with one thread each, and in JAX through vmap as well."""
    import tempfile

    def two_at_a_time(script):
        waiting, running = [401, 402, 403, 404, 405], []
        while waiting or running:
            while waiting and len(running) < 2:
                command = [sys.executable, HERE / script, *SHAPES["d32"], f"--seed={waiting.pop()}", "--threads=1"]
                running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            running = [process for process in running if process.poll() is None]
            time.sleep(0.01)

    def sweep():
        with tempfile.TemporaryDirectory() as runs:
            subprocess.run([given.program, "sweep", "experiments/bench", "--point", "d32", "--runs", runs, "--jobs", "2"], cwd=TOP, stdout=subprocess.DEVNULL, check=True)

    ways = {"ours": sweep}
    if "torch" in given.peers:
        ways["torch, processes"] = lambda: two_at_a_time("torch_step.py")
    if "jax" in given.peers:
        ways["jax, processes"] = lambda: two_at_a_time("jax_step.py")
        ways["jax, vmap"] = lambda: jax("d32", 401, max(given.threads), "--seeds=5")
    times = {name: [] for name in ways}
    for round_number in range(given.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - started)
        print(f"five seeds round {round_number + 1}: " + ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in times.items()), flush=True)
    for name in list(ways)[1:]:
        ratios = [theirs / own for theirs, own in zip(times[name], times["ours"])]
        print(f"five seeds ratio to {name}: median {statistics.median(ratios):.2f}, range {min(ratios):.2f} to {max(ratios):.2f}")


SPEEDS = {
    "images": ("images", images_per_second("images")),
    "images-views": ("images", images_per_second("images-views", "--views")),
    "resnet18": ("images", images_per_second("resnet18", "--encoder=resnet18", "--batch=32")),
    "text": ("tokens", tokens_per_second),
}
parser = argparse.ArgumentParser()
parser.add_argument("--program", default=str(TOP / "target/release/cl-experiments"))
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
parser.add_argument("--points", type=lambda text: text.split(","), default=[*SHAPES, *SPEEDS])
parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS))
parser.add_argument("--compile", action="store_true", help="torch.compile, of the loss on vectors and of the network on images")
given = parser.parse_args()

same = [race(point) for point in given.points if point not in SPEEDS]
for point, (unit, speed) in SPEEDS.items():
    if point in given.points:
        race_speeds(point, unit, speed)
if same:
    five_seeds()
sys.exit(0 if all(same) else 1)
