"""Trains short runs of every kind with two builds of the program and compares what they leave behind, byte by byte.

    python3 compare.py BEFORE AFTER [--before-experiment FOLDER] [--after-experiment FOLDER]

BEFORE and AFTER are programs; each reads this folder unless it has an experiment of its own, which a build whose experiment files
look otherwise needs. A change that should move no number passes when both come to the same bits on one machine with one thread
(bits differ between processors). Exit status: 0 when all files agree, 1 when one does not, 2 when a run fails.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# What a run leaves behind, less what says when and how it was made.
LEFT_OUT = {"COMPLETE", "lock", "manifest.json", "spec.json"}

SWEEPS = {"one by one": [], "as replicas": ["--replicas", "3", "--point", "paper"]}


def runs_of(program, experiment, arguments, folder):
    """Trains, and returns the bytes of each file by (point, seed, file)."""
    command = [str(program), "sweep", str(experiment), "--runs", str(folder), "--jobs", "1", *arguments]
    environment = os.environ | {"RAYON_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(command)}: status {ended.returncode}\n{ended.stderr}")
    found = {}
    for path in sorted(folder.glob("*/*/seed-*/*")):
        point = path.parent.parent.name.rsplit("-", 1)[0]
        if path.is_file() and path.name not in LEFT_OUT:
            found[point, path.parent.name, path.name] = path.read_bytes()
    return found


def compare(before, after):
    """Says what differs; how many files do."""
    differ = 0
    for key in sorted(before.keys() | after.keys()):
        name = " ".join(key)
        if key not in before or key not in after:
            print(f"{name}: only {'after' if key in after else 'before'} the change")
        elif before[key] != after[key]:
            print(f"{name}: differs ({len(before[key])} and {len(after[key])} bytes)")
        else:
            continue
        differ += 1
    return differ


def main():
    """Both programs, all sweeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--before-experiment", type=Path, default=HERE)
    parser.add_argument("--after-experiment", type=Path, default=HERE)
    given = parser.parse_args()
    differ = files = 0
    for title, arguments in SWEEPS.items():
        with tempfile.TemporaryDirectory() as scratch:
            before = runs_of(given.before.resolve(), given.before_experiment, arguments, Path(scratch) / "before")
            after = runs_of(given.after.resolve(), given.after_experiment, arguments, Path(scratch) / "after")
        found = compare(before, after)
        print(f"{title}: {len(before)} files, {found} differ")
        differ, files = differ + found, files + len(before)
    return 1 if differ or not files else 0


if __name__ == "__main__":
    sys.exit(main())
