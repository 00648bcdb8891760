"""A finished run as one file, `<group>/<method>/seed-<n>.csv`: a line about its origin, then a line per evaluation.

    # AMD EPYC, 2 cores; commit 1a2b3c4; one thread; program 0.1.0; env Hopper-v5; from configs/dhmbpo/hopper.toml;
    with model.loss.kind=mle; cpu 5010 s; config 0123456789ab; 5123 s
    env_step,mean_return,std_return,episodes,mean_length,seconds

The first line is a single line. It ends like those of `foresee-benches learn`, whose files have only the first two
columns; this module reads both. `seconds` is the wall time of training up to the end of the evaluation, over all
segments of a run that was cut and resumed. `cpu` is the processor time of the whole process, start-ups included, if
it is known for every segment.
"""

import hashlib
import json
import os
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learning.entries import Refused, identity, old_names

COLUMNS = ("env_step", "mean_return", "std_return", "episodes", "mean_length", "seconds")
#: Names of the columns in a run's own `results.csv`.
OF_A_RUN = ("env_step", "episode_reward", "episode_reward_std", "episodes", "episode_length")


@dataclass
class Point:
    """An evaluation."""

    step: int
    mean: float
    std: float | None = None
    episodes: int | None = None
    length: float | None = None
    seconds: float | None = None


@dataclass
class Outcome:
    """A finished run."""

    seed: int
    #: Hash of all settings except those of `APART`, in hexadecimal digits.
    config: str
    #: Seconds of wall time.
    seconds: float
    points: list[Point]
    #: Other parts of the first line by their first word; `machine` is the part before them.
    about: dict[str, str] = field(default_factory=dict)

    def at(self, step: int) -> Point | None:
        """Returns the evaluation at a step."""
        return next((point for point in self.points if point.step == step), None)

    def fits(self, config: str, overrides: tuple[str, ...]) -> bool:
        """Whether the file may belong to this config and these overrides: false only if it names others."""
        if "from" not in self.about:
            return True
        own = identity(shlex.split(self.about.get("with", "")))
        return self.about["from"] == config and own == identity(overrides)


def number(value: float | int | None) -> str:
    """Returns the shortest text that reads back as the number, without a point for whole numbers; empty for none."""
    if value is None:
        return ""
    whole = isinstance(value, int) or value.is_integer()
    return str(int(value)) if whole and abs(value) < 1e15 else repr(value)


def text(outcome: Outcome) -> str:
    """Returns the file's text."""
    parts = [outcome.about.get("machine", "unknown processor"), f"commit {outcome.about.get('commit', 'unknown')}"]
    parts += ["one thread"]
    parts += [f"{key} {value}" for key, value in outcome.about.items() if key not in ("machine", "commit")]
    parts += [f"config {outcome.config}", f"{outcome.seconds:.0f} s"]
    lines = ["# " + "; ".join(parts), ",".join(COLUMNS)]
    for p in outcome.points:
        seconds = None if p.seconds is None else round(p.seconds, 1)
        lines.append(",".join(map(number, (p.step, p.mean, p.std, p.episodes, p.length, seconds))))
    return "\n".join(lines) + "\n"


def parse(seed: int, content: str, where: str) -> Outcome:
    """Returns the run in a file's text."""
    try:
        head, columns, *rows = content.splitlines()
        machine, *parts, config, seconds = head.removeprefix("# ").split("; ")
        about = {"machine": machine}
        about |= dict(part.split(" ", 1) for part in parts if " " in part and part != "one thread")
        names = columns.split(",")
        points = []
        for row in rows:
            cells = dict(zip(names, row.split(","), strict=True))
            values = {key: float(cell) for key, cell in cells.items() if cell}
            episodes = values.get("episodes")
            points.append(
                Point(
                    int(cells["env_step"]),
                    values["mean_return"],
                    values.get("std_return"),
                    None if episodes is None else int(episodes),
                    values.get("mean_length"),
                    values.get("seconds"),
                )
            )
        if not config.startswith("config ") or not seconds.endswith(" s"):
            raise ValueError("its first line does not end with the config and the seconds")
        shlex.split(about.get("with", ""))
        return Outcome(seed, config.removeprefix("config "), float(seconds.removesuffix(" s")), points, about)
    except (ValueError, KeyError) as error:
        raise Refused(f"`{where}` is not a result file: {error}\nhint: remove the file to run it again") from None


def read(path: Path, seed: int) -> Outcome | None:
    """Reads the run in a file, if it exists."""
    try:
        return parse(seed, path.read_text(), str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"cannot read `{path}`: {error}\nhint: remove the file to run it again") from None


def write(path: Path, outcome: Outcome) -> None:
    """Writes a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text(outcome))
    os.replace(temporary, path)


# From a run's folder.


def fingerprint(config: dict[str, Any]) -> str:
    """Returns twelve hexadecimal digits of the hash of a config with all its defaults, without seed, threads and
    length, by the old names of its keys.
    """
    kept = {key: value for key, value in old_names(config).items() if key not in ("seed", "threads")}
    if isinstance(kept.get("training"), dict):
        kept["training"] = {key: value for key, value in kept["training"].items() if key != "env_steps"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def clock(run: Path) -> list[tuple[int, float]]:
    """Returns pairs (step, seconds since the start of training, over all segments) of a run's timing records, from (0,
    0) on.
    """
    readings = [(0, 0.0)]
    try:
        with (run / "timing.jsonl").open() as lines:
            for line in lines:
                entry = json.loads(line)
                readings.append((int(entry["env_step"]), float(entry["wall_s"])))
    except (OSError, ValueError, KeyError):
        pass
    return readings


def seconds_at(readings: list[tuple[int, float]], step: int) -> float | None:
    """Returns the last reading at this step, or an interpolation between the adjacent ones; none after the last."""
    at = [seconds for known, seconds in readings if known == step]
    if at:
        return at[-1]
    before = max((reading for reading in readings if reading[0] < step), default=None)
    after = min((reading for reading in readings if reading[0] > step), default=None)
    if before is None or after is None:
        return None
    return before[1] + (after[1] - before[1]) * (step - before[0]) / (after[0] - before[0])


def evaluations(run: Path, end: tuple[int, float | None]) -> list[Point]:
    """Returns a run's evaluations. `end` is its last step and the seconds up to it, if they are known."""
    readings = clock(run)
    if end[1] is not None and end[0] > readings[-1][0]:
        readings.append((end[0], end[1]))
    header, *rows = (run / "results.csv").read_text().splitlines()
    names, points = header.split(","), []
    for row in rows:
        cells = dict(zip(names, row.split(",")))
        step, mean, std, episodes, length = (cells.get(name, "") for name in OF_A_RUN)
        points.append(
            Point(
                int(step),
                float(mean),
                float(std) if std else None,
                int(float(episodes)) if episodes else None,
                float(length) if length else None,
                seconds_at(readings, int(step)),
            )
        )
    return points


def config_of(run: Path) -> dict[str, Any]:
    """Returns the config that a run began with, all defaults included."""
    with (run / "config.toml").open("rb") as file:
        return tomllib.load(file)


def steps_in_force(run: Path) -> int | None:
    """Returns the length of a run, as of its last resume with another length."""
    newest, k = run / "config.toml", 1
    while (run / f"config.resume-{k}.toml").is_file():
        newest, k = run / f"config.resume-{k}.toml", k + 1
    try:
        return int(tomllib.loads(newest.read_text())["training"]["env_steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
