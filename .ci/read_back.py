"""TensorBoard's own reader finds every scalar that a run wrote exactly once, and no others.

    python .ci/read_back.py path/to/foresee

Three states of a run are read: finished, killed in its middle, and resumed after two kills with an override that extends
it. They are compared with the run's own records, `metrics.jsonl` and `timing.jsonl`.
"""

import json
import math
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIG = str(REPOSITORY / "configs" / "pendulum-vagram.toml")
#: Overrides for a run of a second or two that writes every kind of record.
OVERRIDES = [
    "training.env_steps=400",
    "training.explore_steps=60",
    "training.updates_per_step=40",
    "training.log_every=10",
    "training.eval_every=50",
    "training.eval_episodes=2",
    "training.checkpoint_every=70",
    "agent.hidden=[32, 32]",
    "agent.batch=64",
    "model.ensemble.hidden=[32, 32]",
    "model.fit.every=100",
    "model.fit.max_steps=60",
    "model.fit.min_steps=20",
]
#: Scalars by name, with their points (step, value) in the order in which they were written.
Scalars = dict[str, list[tuple[int, float]]]


def single(value: object) -> float:
    """Returns a number of a record as TensorBoard stores it: rounded to single precision."""
    number = float(value)  # "NaN", "inf" and "-inf" are strings in JSON.
    return struct.unpack("f", struct.pack("f", number))[0]


def recorded_scalars(run: Path) -> Scalars:
    """Returns the scalars in the run's own records."""
    scalars: Scalars = {}
    for name in ("metrics.jsonl", "timing.jsonl"):
        for line in (run / name).read_text().splitlines():
            record = json.loads(line)
            step = record.pop("env_step")
            record.pop("wall_s", None)  # TensorBoard has the time of every point itself.
            for key, value in record.items():
                scalars.setdefault(key, []).append((step, single(value)))
    return scalars


def tensorboard_scalars(run: Path) -> Scalars:
    """Returns the scalars that TensorBoard finds in the run's folder."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def same(a: tuple[int, float], b: tuple[int, float]) -> bool:
    """Whether two points are equal; NaN equals NaN."""
    return a[0] == b[0] and (a[1] == b[1] or (math.isnan(a[1]) and math.isnan(b[1])))


def check(run: Path, state: str, lost: int = 0) -> None:
    """Compares both readings of a run. A killed process may have lost its last `lost` records in one of the files."""
    expected, found = recorded_scalars(run), tensorboard_scalars(run)
    if expected.keys() != found.keys():
        sys.exit(f"{state}: TensorBoard and the records have different scalars: {sorted(expected.keys() ^ found.keys())}")
    for name, points in expected.items():
        other = found[name]
        difference = abs(len(points) - len(other))
        if difference > lost or not all(same(a, b) for a, b in zip(points, other)):
            sys.exit(f"{state}: `{name}` was recorded as {points} and read as {other}")
        steps = [step for step, _ in other]
        if steps != sorted(set(steps)):
            sys.exit(f"{state}: `{name}` has repeated or unsorted steps: {steps}")
    points = sum(map(len, expected.values()))
    print(f"{state}: {len(expected)} scalars, {points} points, each found once")


def kill_after(command: list[str], run: Path, step: int) -> None:
    """Runs a command until the run's records reach a step, and kills it there."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    records = run / "metrics.jsonl"
    while process.poll() is None:
        lines = records.read_text().splitlines(keepends=True) if records.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if whole and json.loads(whole[-1])["env_step"] >= step:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
        time.sleep(0.005)
    sys.exit(f"the run ended before step {step}: {process.stderr.read().decode() if process.stderr else ''}")


def main() -> None:
    """Checks all three states."""
    program = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        finished, cut = Path(folder, "finished"), Path(folder, "cut")
        train = [program, "train", CONFIG, *OVERRIDES, "--run-dir"]
        subprocess.run([*train, str(finished)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(finished, "finished")
        kill_after([*train, str(cut)], cut, 230)
        check(cut, "killed", lost=1)
        # Killed again between two checkpoints: records after the newest one are written again.
        kill_after([program, "resume", str(cut)], cut, 330)
        extended = [program, "resume", str(cut), "training.env_steps=500"]
        subprocess.run(extended, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(cut, "resumed")


if __name__ == "__main__":
    main()
