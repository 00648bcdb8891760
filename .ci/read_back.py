"""TensorBoard's own reader finds every scalar that a run wrote: once each, none missing, none more.

    python .ci/read_back.py path/to/foresee

Three states of a run are read: finished, killed in its middle, and resumed to its end after two kills, the second by an
override that extends it. The oracle is what the run wrote down beside: `metrics.jsonl` and `timing.jsonl`.
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
#: A run of a second or two that writes all that runs write.
SMALL = [
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
#: Scalars by name: their points, (step, value), in the order in which they were written.
Scalars = dict[str, list[tuple[int, float]]]


def single(value: object) -> float:
    """A number of a record as TensorBoard keeps it: rounded to single precision."""
    number = float(value)  # "NaN", "inf" and "-inf" are strings in JSON.
    return struct.unpack("f", struct.pack("f", number))[0]


def written(run: Path) -> Scalars:
    """What the run's own records hold."""
    scalars: Scalars = {}
    for name in ("metrics.jsonl", "timing.jsonl"):
        for line in (run / name).read_text().splitlines():
            record = json.loads(line)
            step = record.pop("env_step")
            record.pop("wall_s", None)  # TensorBoard has the time of every point itself.
            for key, value in record.items():
                scalars.setdefault(key, []).append((step, single(value)))
    return scalars


def read(run: Path) -> Scalars:
    """What TensorBoard finds in the run's folder."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def same(a: tuple[int, float], b: tuple[int, float]) -> bool:
    """Whether two points agree; NaN is itself."""
    return a[0] == b[0] and (a[1] == b[1] or (math.isnan(a[1]) and math.isnan(b[1])))


def check(run: Path, state: str, lost: int = 0) -> None:
    """Compares the two. A killed process may have lost at most its last `lost` records in one of the files."""
    expected, found = written(run), read(run)
    if expected.keys() != found.keys():
        sys.exit(f"{state}: TensorBoard and the records differ in {sorted(expected.keys() ^ found.keys())}")
    for name, points in expected.items():
        other = found[name]
        apart = abs(len(points) - len(other))
        if apart > lost or not all(same(a, b) for a, b in zip(points, other)):
            sys.exit(f"{state}: `{name}` was written as {points} and is read as {other}")
        steps = [step for step, _ in other]
        if steps != sorted(set(steps)):
            sys.exit(f"{state}: `{name}` has steps {steps}")
    points = sum(map(len, expected.values()))
    print(f"{state}: {len(expected)} scalars, {points} points, all there once")


def kill_after(command: list[str], run: Path, step: int) -> None:
    """Runs a command until the run's records have come to a step, and kills it there."""
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
    """All three states."""
    program = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        finished, cut = Path(folder, "finished"), Path(folder, "cut")
        train = [program, "train", CONFIG, *SMALL, "--run-dir"]
        subprocess.run([*train, str(finished)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(finished, "finished")
        kill_after([*train, str(cut)], cut, 230)
        check(cut, "killed", lost=1)
        # Killed again between two checkpoints: what it wrote beyond the newest one is written once more.
        kill_after([program, "resume", str(cut)], cut, 330)
        extended = [program, "resume", str(cut), "training.env_steps=500"]
        subprocess.run(extended, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(cut, "resumed")


if __name__ == "__main__":
    main()
