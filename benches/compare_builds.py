"""Two builds of foresee beside each other: equal numbers, equal runs after a resume, and how their speeds compare.

    compare_builds.py record  --foresee BIN --out FILE.json [--label TEXT]
    compare_builds.py compare A.json B.json
    compare_builds.py compare --before BIN --after BIN
    compare_builds.py resume  --before BIN --after BIN [--whole A.json] [--signal]
    compare_builds.py speed   --before BENCH --after BENCH [--device cpu] [--rounds 20] [--floor 0.97]

`record` trains every run of `RUNS` and writes down, for each, the command, `metrics.jsonl` and `results.csv` with their
SHA-256, and every array of the newest checkpoint with its type, shape and SHA-256; with them, what the program prints
(`TEXTS`), and the machine. Numbers are those of one kind of processor and, for the runs on wgpu, of one driver.

`compare` prints a line a run: `equal`, or the first line that differs and the arrays that are missing, new or have other
bytes. In its second form it trains with both programs. Metrics that were renamed (`RENAMED_METRICS`) are compared by
their new names, so that records of older builds can still be compared.

`resume` trains with one program to the middle of a run, goes on with the other, and compares the end with the
uninterrupted run of the first; `--signal` interrupts it in the middle of a fit instead of ending it early.

`speed` times two builds of `foresee-benches`, in alternating order, and prints the median of the rounds' ratios
before/after with quartiles: above 1 the later build is faster.

Options of the first three:
    --only NAME ...        only these runs; `--list` prints their names
    --keep DIR             keep the run folders in DIR
    --repository DIR       where `configs/` is; this script's own repository if it is not given
and of the comparisons:
    --rename OLD=NEW       an array is called NEW now; one `*` on both sides stands for any text
    --new PATTERN          arrays that may be new, with `*` and `?`
    --allow-refusal        `resume` may refuse a checkpoint of another format, with exit code 2

Exit code 1 if there is a difference that is not allowed, or if a speed ratio is below `--floor`. Differences of printed
texts are shown, but do not count.

Needs Python 3.11 or later and no packages. MuJoCo and Gymnasium runs need a virtual environment with
`.ci/requirements.txt`: that of VIRTUAL_ENV, or the one that `.ci/run` creates; the runs on wgpu need a Vulkan driver on
the processor and a program built with the feature `full`.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import hashlib
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

REPOSITORY = Path(__file__).resolve().parent.parent
#: Format of the records that this script writes; the first one.
FORMAT = 1
#: Record files that are equal byte for byte for equal runs.
FILES = ("metrics.jsonl", "results.csv")
#: Metrics that older builds record by another name: old name to new name.
RENAMED_METRICS = {
    "rollout/ep_rew_mean": "episode/return",
    "rollout/ep_len_mean": "episode/length",
}

#: Periods of a run of 600 steps: uniform actions first, then a fit with rollouts every 100 steps, evaluations,
#: checkpoints. The middle of a run, `CUT`, is a multiple of `eval_every`, because the last step of a run always
#: evaluates.
CLOCKS = [
    "threads=2",
    "training.env_steps=600",
    "training.explore_steps=200",
    "training.updates_per_step=4",
    "training.epoch_length=200",
    "training.eval_every=150",
    "training.eval_episodes=3",
    "training.log_every=50",
    "training.checkpoint_every=150",
]
CUT = 450
#: Some fits end by early stopping and others at their limit of steps. Horizons and shares of real rows change during
#: the run. Losses with values are used without the squared error from step 350 on.
IMAGINATION = [
    "model.fit.every=100",
    "model.fit.max_steps=250",
    "model.fit.patience=2",
    "model.fit.threshold=0.5",
    "model.loss.add_mse_until=150",
    "rollout.starts_per_step=40",
    "rollout.horizon=[1, 4, 200, 500]",
    "rollout.real_ratio=[1.0, 0.1, 200, 500]",
]
MODEL_BASED = CLOCKS + IMAGINATION
#: On a software driver only the results are compared, not the speed.
TINY = [
    "training.updates_per_step=2",
    "model.fit.max_steps=40",
    "rollout.starts_per_step=20",
    "agent.hidden=[32, 32]",
    "model.ensemble.hidden=[32, 32]",
]
ON_WGPU = ["device=wgpu:cpu", *MODEL_BASED, *TINY, "training.env_steps=300", "training.explore_steps=100"]
ON_WGPU += ["model.loss.add_mse_until=100", "rollout.horizon=[1, 3, 100, 300]"]


@dataclass(frozen=True)
class Short:
    """A short run: a config, its overrides, and the step of its middle."""

    config: str
    overrides: list[str]
    cut: int = CUT

    def train(self, run: Path | str, *more: str) -> list[str]:
        """Returns the arguments that train it in the folder `run`."""
        return ["train", self.config, *self.overrides, *more, "--run-dir", str(run)]

    def steps(self) -> int:
        """Returns the number of real steps of the whole run."""
        return int([word for word in self.overrides if word.startswith("training.env_steps=")][-1].split("=")[1])


def pendulum(*overrides: str) -> Short:
    """Returns Pendulum under VaGraM, with overrides."""
    return Short("configs/pendulum-vagram.toml", [*MODEL_BASED, *overrides])


RUNS: dict[str, Short] = {
    "pendulum-vagram": pendulum(),
    "pendulum-mle": Short("configs/pendulum-mle.toml", MODEL_BASED),
    "pendulum-sac": Short("configs/pendulum-sac.toml", CLOCKS),
    "pendulum-mse": pendulum("model.loss.kind=mse"),
    "pendulum-itervaml": pendulum("model.loss.kind=itervaml"),
    "pendulum-value-weighted": pendulum("model.loss.kind=value_weighted"),
    # Keys that the configs above leave at their defaults.
    "pendulum-vagram-unbounded": pendulum(
        "model.loss.form=unbounded", "model.loss.heads=target", "model.head=gaussian", "model.fit.snapshot=shared"
    ),
    "pendulum-itervaml-through-policy": pendulum("model.loss.kind=itervaml", "model.loss.through_policy=true"),
    # Two keys under the names that older builds know; newer builds rename them with a note.
    "pendulum-agent": pendulum(
        "agent.actor_every=2", "agent.target_every=3", "agent.normalized_features=true", "agent.batch=100"
    ),
    "pendulum-count-2": pendulum("env.count=2"),
    # The imagined buffer is large enough for a checkpoint to store it in segments.
    "cartpole-swingup-distractors": Short(
        "configs/cartpole-swingup-vagram.toml", [*MODEL_BASED, "env.distractors=5", "rollout.starts_per_step=200"]
    ),
    "pendulum-family": Short(
        "configs/pendulum-sac.toml",
        [*CLOCKS, "env.family.mass=[0.8, 1.2]", "env.family.delay=1", "env.family.sensor_noise=0.01"],
    ),
    # In Python, through the bridge.
    "gym-pendulum": Short("configs/pendulum-sac.toml", [*CLOCKS, "env.id=gym:Pendulum-v1", "env.count=2"]),
    "hopper-small": Short("configs/mujoco/hopper-small.toml", [*MODEL_BASED, "model.fit.max_steps=100"]),
    # The second backend of the CPU, which uses the tensor forms.
    "ndarray-vagram": pendulum(*TINY, "device=ndarray", "training.updates_per_step=1"),
    "wgpu-vagram": Short("configs/pendulum-vagram.toml", ON_WGPU, 150),
    "wgpu-mle": Short("configs/pendulum-mle.toml", ON_WGPU, 150),
    "wgpu-itervaml": Short("configs/pendulum-vagram.toml", [*ON_WGPU, "model.loss.kind=itervaml"], 150),
    "wgpu-sac": Short("configs/pendulum-sac.toml", [word for word in ON_WGPU if word not in IMAGINATION], 150),
}

#: Commands whose output is text for people.
TEXTS: list[list[str]] = [
    ["--help"],
    *[[verb, "--help"] for verb in ("train", "resume", "eval", "check", "check-env", "list")],
    *[["list", what] for what in ("envs", "losses", "algos", "devices")],
    *[["check", short.config, *short.overrides] for short in (RUNS["pendulum-vagram"], RUNS["pendulum-sac"])],
    *[
        ["check", "configs/pendulum-vagram.toml", override]
        for override in (
            "algo=dqn",
            "seed=-1",
            "device=tpu",
            "env.id=Nothing-v0",
            "env.count=7",
            "training.env_steps=0",
            "training.steps=5",
            "agent.hidden=[]",
            "agent.kind=nothing",
            "agent.size=3",
            "model.loss.kind=nothing",
            "model.loss.power=2",
            "model.fit.every=0",
            "rollout.horizon=0",
        )
    ],
]

Recorded = dict[str, Any]


def note(message: str) -> None:
    """Prints progress to standard error."""
    print(message, file=sys.stderr, flush=True)


def sha256(data: bytes) -> str:
    """Returns the SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


# Checkpoints


def safetensors(data: bytes) -> Iterator[tuple[str, str, list[int], bytes]]:
    """Returns name, type, shape and bytes of every array of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            yield name, entry["dtype"], entry["shape"], body[start:end]


def newest_checkpoint(root: Path) -> Path:
    """Returns the last save of the last step: `step-000000000600`, or `step-000000000600-1` if it was saved again."""
    names = [re.fullmatch(r"step-(\d{12})(?:-(\d+))?", path.name) for path in root.iterdir()]
    found = [(int(name[1]), int(name[2] or 0), name[0]) for name in names if name]
    if not found:
        raise SystemExit(f"error: there is no checkpoint in `{root}`")
    return root / max(found)[2]


def arrays(checkpoint: Path) -> dict[str, str]:
    """Returns every array of a checkpoint, small or in segments: type, shape and SHA-256 by name."""
    found = {
        name: f"{kind} {shape} {sha256(data)}"
        for name, kind, shape, data in safetensors((checkpoint / "state.safetensors").read_bytes())
    }
    manifest = json.loads((checkpoint / "manifest.json").read_text())["manifest"]
    for name, array in manifest["arrays"].items():
        digest = hashlib.sha256()
        for segment in array["segments"]:
            digest.update((checkpoint.parent / "segments" / segment).read_bytes())
        found[name] = f"{array['kind']} {array['shape']} {digest.hexdigest()}"
    return dict(sorted(found.items()))


# Running


def surroundings() -> dict[str, str]:
    """Returns the environment variables of the programs."""
    variables = dict(os.environ)
    cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if (venv := cache / "foresee" / "venv").is_dir():
        variables.setdefault("VIRTUAL_ENV", str(venv))
    # Otherwise Mesa complains on standard error.
    variables.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    return variables


@dataclass
class Program:
    """A build of `foresee`, run in the root of a repository."""

    path: Path
    repository: Path

    def call(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs the program to its end."""
        command = [str(self.path), *arguments]
        return subprocess.run(command, cwd=self.repository, env=surroundings(), capture_output=True, text=True)

    def must(self, arguments: list[str]) -> str:
        """Runs the program, which must succeed, and returns its output."""
        done = self.call(arguments)
        if done.returncode != 0:
            raise SystemExit(f"error: `{self.path} {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def interrupted(self, arguments: list[str], run: Path, pause: float) -> bool:
        """Starts the program, and sends SIGINT `pause` seconds after its records have begun. Returns whether the run is
        unfinished.
        """
        quiet = subprocess.DEVNULL
        command = [str(self.path), *arguments]
        process = subprocess.Popen(command, cwd=self.repository, env=surroundings(), stdout=quiet, stderr=subprocess.PIPE)
        while process.poll() is None and not (run / "manifest.json").exists():
            time.sleep(0.01)
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        said = process.communicate()[1].decode()
        # A signal that arrives before the program handles signals ends it.
        if process.returncode not in (0, 130, -signal.SIGINT):
            raise SystemExit(f"error: `{' '.join(command)}` ended with {process.returncode}:\n{said}")
        return process.returncode != 0


#: `phase.kind` of a checkpoint in the middle of a fit.
FIT = (1).to_bytes(8, "little")


def interrupt_in_a_fit(program: Program, short: Short, run: Path) -> bool:
    """Interrupts a run repeatedly, until it is in the middle of a fit. A run without a model is interrupted until it is
    past its middle.

    Returns whether this happened before the end of the run.
    """
    pause, arguments = 0.3, short.train(run)
    while program.interrupted(arguments, run, pause):
        checkpoint = newest_checkpoint(run / "checkpoints")
        state = {name: data for name, _, _, data in safetensors((checkpoint / "state.safetensors").read_bytes())}
        if "model" not in {name.split(".")[0] for name in state}:
            if int(checkpoint.name.split("-")[1]) >= short.steps() / 2:
                return True
        elif state["phase.kind"] == FIT:
            return True
        # A busy machine starts programs slowly, and the run must make progress.
        pause, arguments = 0.3 if pause > 1.5 else 1.1 * pause, ["resume", str(run)]
    return False


def outcome(run: Path) -> Recorded:
    """Reads from a run's folder all data that must be equal for equal runs."""
    contents = {name: (run / name).read_bytes() for name in FILES}
    checkpoint = newest_checkpoint(run / "checkpoints")
    return {
        "files": {
            name: {"sha256": sha256(data), "lines": data.decode().splitlines()} for name, data in contents.items()
        },
        "checkpoint": checkpoint.name,
        "arrays": arrays(checkpoint),
    }


def tidied(text: str, run: Path | None = None) -> list[str]:
    """Returns the lines of a program's output without times and paths."""
    if run:
        text = text.replace(str(run), "RUN")
    text = text.replace(str(Path.home()), "~")
    return re.sub(r" in \d+ s;", " in … s;", text).rstrip().split("\n")


def record_run(program: Program, name: str, folder: Path) -> Recorded:
    """Trains one of `RUNS` in a folder, and reads all data that must be equal."""
    short, run = RUNS[name], folder / name
    note(f"{name} …")
    started = time.monotonic()
    said = program.must(short.train(run))
    seconds = time.monotonic() - started
    evaluated = program.must(["eval", str(run), "--episodes", "2"])
    return {
        "command": " ".join(f"'{word}'" if " " in word else word for word in ["foresee", *short.train("RUN")]),
        "config_sha256": sha256((program.repository / short.config).read_bytes()),
        "seconds": round(seconds, 1),
        "said": tidied(said, run) + tidied(evaluated, run),
        **outcome(run),
    }


def record_texts(program: Program) -> dict[str, list[str]]:
    """Returns the output of the commands in `TEXTS`: standard output, standard error, exit code."""
    texts = {}
    for command in TEXTS:
        done = program.call(command)
        texts["foresee " + " ".join(command)] = [
            *tidied(done.stdout),
            *[f"stderr: {line}" for line in tidied(done.stderr) if line],
            f"exit code {done.returncode}",
        ]
    return texts


def machine(program: Program) -> Recorded:
    """Returns everything that numbers depend on besides the program."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    of = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
    return {
        "processor": of.get("model name", platform.processor()),
        "flags": of.get("flags", of.get("Features", "")),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "devices": program.must(["list", "devices"]).splitlines(),
    }


def record(program: Program, names: list[str], folder: Path, label: str = "") -> Recorded:
    """Records all runs and texts of a program."""
    started = time.monotonic()
    everything: Recorded = {
        "format": FORMAT,
        "label": label,
        "version": program.must(["--version"]).strip(),
        "machine": machine(program),
        "runs": {name: record_run(program, name, folder) for name in names},
        "texts": record_texts(program),
    }
    note(f"{len(names)} runs in {time.monotonic() - started:.0f} s")
    return everything


def from_json(path: Path) -> Recorded:
    """Reads a record that `record` wrote."""
    everything = json.loads(path.read_text())
    if everything.get("format") != FORMAT:
        found = everything.get("format")
        raise SystemExit(f"error: `{path}` has format {found}, but this script reads format {FORMAT}\nhint: record it again")
    return everything


# Comparing


@dataclass
class Allowed:
    """Arrays that may be renamed or new."""

    renames: list[tuple[str, str]] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def now(self, name: str) -> str:
        """Returns an array's name after the renames."""
        for old, new in self.renames:
            if "*" not in old:
                if name == old:
                    return new
                continue
            head, tail = old.split("*")
            if len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail):
                return new.replace("*", name[len(head) : len(name) - len(tail)])
        return name

    def may_be_new(self, name: str) -> bool:
        """Whether a pattern allows the array to be new."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.new)


@dataclass
class Difference:
    """Differences of two runs: those that count, and those that are allowed."""

    bad: list[str] = field(default_factory=list)
    fine: list[str] = field(default_factory=list)


def by_new_names(line: str) -> str:
    """Returns a line of `metrics.jsonl` with the new names of renamed metrics."""
    for old, new in RENAMED_METRICS.items():
        line = line.replace(f'"{old}":', f'"{new}":')
    return line


def records(run: Recorded, metric: str) -> bool:
    """Whether a run's `metrics.jsonl` has a metric."""
    return any(f'"{metric}":' in line for line in run["files"]["metrics.jsonl"]["lines"])


def first_difference(name: str, before: Recorded, after: Recorded) -> str | None:
    """Returns the first difference of a record file, or `None` if the files are equal apart from renamed metrics."""
    one, other = before["files"][name], after["files"][name]
    if one["sha256"] == other["sha256"]:
        return None
    lines = [[by_new_names(line) for line in entry["lines"]] for entry in (one, other)]
    renames = any(records(run, old) for run in (before, after) for old in RENAMED_METRICS)
    if name == "metrics.jsonl" and renames and lines[0] == lines[1]:
        return None
    shorter = min(map(len, lines))
    at = next((i for i in range(shorter) if lines[0][i] != lines[1][i]), shorter)
    shown = [text[at] if at < len(text) else "(no line)" for text in lines]
    found = f"{name}: line {at + 1} of {len(lines[0])} and {len(lines[1])} differs"
    return f"{found}\n      before {shown[0]}\n      after  {shown[1]}"


def some(names: list[str], most: int = 8) -> str:
    """Joins names to a sentence; of many only the first ones."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def differences(before: Recorded, after: Recorded, allowed: Allowed) -> Difference:
    """Compares two outcomes."""
    found = Difference()
    found.bad += [line for name in FILES if (line := first_difference(name, before, after))]
    renamed_metrics = [name for old, name in RENAMED_METRICS.items() if records(before, old) != records(after, old)]
    if renamed_metrics:
        found.fine.append(f"renamed metrics: {some(renamed_metrics)}")
    if before["checkpoint"].split("-")[1] != after["checkpoint"].split("-")[1]:
        found.bad.append(f"the newest checkpoints are {before['checkpoint']} (before) and {after['checkpoint']} (after)")
    there = {allowed.now(name): (name, array) for name, array in before["arrays"].items()}
    if len(there) != len(before["arrays"]):
        found.bad.append("--rename gives two arrays the same name")
    missing = [name for now, (name, _) in there.items() if now not in after["arrays"]]
    new = [name for name in after["arrays"] if name not in there]
    kinds, other = [], []
    for now, (_, array) in there.items():
        later = after["arrays"].get(now, array)
        # Type and shape are before the last word, the digest.
        if later.rsplit(" ", 1)[0] != array.rsplit(" ", 1)[0]:
            kinds.append(f"{now} ({array.rsplit(' ', 1)[0]} → {later.rsplit(' ', 1)[0]})")
        elif later != array:
            other.append(now)
    renamed = [f"{name} → {now}" for now, (name, _) in there.items() if now != name and now in after["arrays"]]
    unexpected = [name for name in new if not allowed.may_be_new(name)]
    expected = [name for name in new if allowed.may_be_new(name)]
    for what, names, where in (
        ("missing", missing, found.bad),
        ("new", unexpected, found.bad),
        ("of another type or shape", kinds, found.bad),
        ("of other bytes", other, found.bad),
        ("new, as allowed", expected, found.fine),
        ("renamed, as allowed", renamed, found.fine),
    ):
        if names:
            where.append(f"{len(names)} of {len(after['arrays'])} arrays {what}: {some(names)}")
    return found


def report(name: str, found: Difference) -> bool:
    """Prints a line per run, with its differences below it. Returns whether the runs are equal."""
    print(f"{name:<34} {'DIFFERENT' if found.bad else 'equal'}", flush=True)
    for line in found.bad:
        print(f"    {line}")
    for line in found.fine:
        print(f"    ({line})")
    return not found.bad


def show_texts(title: str, before: list[str], after: list[str]) -> None:
    """Prints the differences of two texts, if there are any."""
    if before != after:
        print(f"text: {title}")
        for line in list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]:
            if not line.startswith("@@"):
                print(f"    {line}")


def compare(before: Recorded, after: Recorded, names: list[str], allowed: Allowed) -> bool:
    """Prints the differences of two records. Returns whether they are equal, apart from allowed differences and texts.
    """
    for key, value in before["machine"].items():
        if value != after["machine"].get(key):
            print(f"note: the machines differ: `{key}` is `{value}` before and `{after['machine'].get(key)}` after")
    equal = True
    for name in names:
        runs = [side["runs"].get(name) for side in (before, after)]
        if None in runs:
            print(f"{name:<34} MISSING {'before' if runs[0] is None else 'after'}")
            equal = False
            continue
        one, other = runs
        found = differences(one, other, allowed)
        if one["config_sha256"] != other["config_sha256"]:
            found.fine.append("the text of the config has changed")
        if one["command"] != other["command"]:
            found.bad.append(f"the command was `{one['command']}` and is `{other['command']}`")
        equal &= report(name, found)
    for name in names:
        if all(name in side["runs"] for side in (before, after)):
            show_texts(f"train and eval of {name}", *(side["runs"][name]["said"] for side in (before, after)))
    for command in before["texts"].keys() | after["texts"].keys():
        show_texts(command, *(side["texts"].get(command, []) for side in (before, after)))
    return equal


def resume(
    programs: tuple[Program, Program], names: list[str], folder: Path, whole: Recorded | None, allowed: Allowed,
    by_signal: bool, may_refuse: bool,
) -> bool:  # fmt: skip
    """Compares runs that one program began and the other finished with uninterrupted runs of the first."""
    before, after = programs
    equal = True
    for name in names:
        short, run = RUNS[name], folder / f"{name}-cut"
        uninterrupted = whole["runs"][name] if whole else record_run(before, name, folder)
        note(f"{name}, cut …")
        if by_signal:
            if not interrupt_in_a_fit(before, short, run):
                why = "the run ended before a signal reached it during a fit; run the command again"
                equal &= report(name, Difference(bad=[why]))
                continue
            overrides = []
        else:
            before.must(short.train(run, f"training.env_steps={short.cut}"))
            overrides = [f"training.env_steps={short.steps()}"]
        where = newest_checkpoint(run / "checkpoints").name
        done = after.call(["resume", str(run), *overrides])
        refused = done.returncode == 2 and "format" in done.stderr
        if refused and may_refuse:
            print(f"{name:<34} refused: {done.stderr.strip()}")
        elif done.returncode != 0:
            equal &= report(name, Difference(bad=[f"`resume` ended with {done.returncode}: {done.stderr.strip()}"]))
        else:
            found = differences(uninterrupted, outcome(run), allowed)
            found.fine.insert(0, f"resumed at {where}")
            equal &= report(name, found)
    return equal


# Speed

WORKLOADS = ("model_step", "vagram_step", "sac_update", "rollout_10k_5")


def milliseconds(bench: Path, workload: str, seconds: float, threads: int, device: str) -> float:
    """Returns the median of one process's iterations."""
    command = [str(bench), "compute", "--json", "--workload", workload, "--device", device]
    command += ["--seconds", str(seconds), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings(), cwd=REPOSITORY)
    if done.returncode != 0:
        raise SystemExit(f"error: `{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1])["median_ms"])


def speed(
    benches: tuple[Path, Path], workloads: list[str], rounds: int, seconds: float, threads: int, device: str = "cpu"
) -> Recorded:
    """Returns the milliseconds of every round, `[before, after]`, by workload."""
    times: Recorded = {workload: [] for workload in workloads}
    for number in range(rounds):
        for workload in workloads:
            pair = [0.0, 0.0]
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                pair[side] = milliseconds(benches[side], workload, seconds, threads, device)
            times[workload].append(pair)
        note(f"round {number + 1} of {rounds}: " + ", ".join(f"{w} {t[-1][0] / t[-1][1]:.3f}" for w, t in times.items()))
    return times


def show_speed(times: Recorded, floor: float) -> bool:
    """Prints the ratios. Returns whether all medians reach the floor."""
    print(f"{'workload':<14} {'before ms':>10} {'after ms':>10} {'ratio':>7} {'quartiles':>15} {'range':>15}")
    fast = True
    for workload, pairs in times.items():
        ratios = sorted(before / after for before, after in pairs)
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        before, after = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        slow = quartiles[1] < floor
        fast &= not slow
        print(
            f"{workload:<14} {before:>10.3f} {after:>10.3f} {quartiles[1]:>7.3f} "
            f"{quartiles[0]:>7.3f} {quartiles[2]:>7.3f} {ratios[0]:>7.3f} {ratios[-1]:>7.3f}"
            + (f"   under {floor}" if slow else "")
        )
    return fast


# The command line


def renaming(text: str) -> tuple[str, str]:
    """Parses `OLD=NEW`."""
    old, sign, new = text.partition("=")
    if not (old and sign and new) or old.count("*") != new.count("*") or old.count("*") > 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not OLD=NEW; a `*` must be on both sides, at most once on each")
    return old, new


def executable(text: str) -> Path:
    """Parses the path of an existing program."""
    path = Path(text).resolve()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise argparse.ArgumentTypeError(f"`{text}` is not an executable file")
    return path


def arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the names of the runs")
    verbs = parser.add_subparsers(dest="verb")

    training = argparse.ArgumentParser(add_help=False)
    training.add_argument("--only", nargs="+", metavar="NAME", choices=list(RUNS), default=list(RUNS))
    training.add_argument("--keep", type=Path, metavar="DIR")
    training.add_argument("--repository", type=Path, metavar="DIR", default=REPOSITORY)
    comparing = argparse.ArgumentParser(add_help=False)
    comparing.add_argument("--rename", type=renaming, action="append", metavar="OLD=NEW", default=[])
    comparing.add_argument("--new", action="append", metavar="PATTERN", default=[])

    verb = verbs.add_parser("record", parents=[training], help="train the runs and record their results")
    verb.add_argument("--foresee", type=executable, required=True, metavar="BIN")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    verb.add_argument("--label", default="", help="text that is stored with the record, such as the commit")
    what = "compare two records, or train with two programs and compare"
    verb = verbs.add_parser("compare", parents=[training, comparing], help=what)
    verb.add_argument("records", type=Path, nargs="*", metavar="FILE.json")
    verb.add_argument("--before", type=executable, metavar="BIN")
    verb.add_argument("--after", type=executable, metavar="BIN")
    what = "begin runs with one program, resume them with another, and compare"
    verb = verbs.add_parser("resume", parents=[training, comparing], help=what)
    verb.add_argument("--before", type=executable, required=True, metavar="BIN")
    verb.add_argument("--after", type=executable, required=True, metavar="BIN")
    verb.add_argument("--whole", type=Path, metavar="FILE.json", help="a record of the uninterrupted runs")
    verb.add_argument("--signal", action="store_true", help="interrupt the runs instead of ending them early")
    verb.add_argument("--allow-refusal", action="store_true")
    verb = verbs.add_parser("speed", help="time two builds of `foresee-benches` in alternating order")
    verb.add_argument("--before", type=executable, required=True, metavar="BENCH")
    verb.add_argument("--after", type=executable, required=True, metavar="BENCH")
    verb.add_argument("--rounds", type=int, default=20)
    verb.add_argument("--seconds", type=float, default=0.5, help="seconds per workload and round")
    verb.add_argument("--threads", type=int, default=0, help="number of threads; 0: one per core")
    verb.add_argument("--device", default="cpu", help="device of the networks; both builds must support it")
    verb.add_argument("--floor", type=float, default=0.97)
    verb.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    verb.add_argument("--out", type=Path, metavar="FILE.json", help="write the times of all rounds to this file")

    given = parser.parse_args()
    if not given.list and given.verb is None:
        parser.error("give a command: record, compare, resume or speed")
    if given.verb == "compare" and not (len(given.records) == 2) ^ bool(given.before and given.after):
        parser.error("`compare` needs either two record files, or both --before and --after")
    return given


def perform(given: argparse.Namespace, folder: Path) -> bool:
    """Performs the command in a folder for runs. Returns whether it succeeded."""
    if given.verb == "record":
        everything = record(Program(given.foresee, given.repository), given.only, folder, given.label)
        given.out.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")
        return True
    allowed = Allowed(given.rename, given.new)
    if given.verb == "compare" and given.records:
        before, after = map(from_json, given.records)
        return compare(before, after, given.only, allowed)
    programs = (Program(given.before, given.repository), Program(given.after, given.repository))
    if given.verb == "resume":
        whole = from_json(given.whole) if given.whole else None
        return resume(programs, given.only, folder, whole, allowed, given.signal, given.allow_refusal)
    sides = []
    for program, name in zip(programs, ("before", "after")):
        (folder / name).mkdir(parents=True)
        sides.append(record(program, given.only, folder / name, name))
    return compare(sides[0], sides[1], given.only, allowed)


def main() -> None:
    """Runs the command."""
    given = arguments()
    if given.list:
        print("\n".join(RUNS))
        return
    if given.verb == "speed":
        times = speed((given.before, given.after), given.workload, given.rounds, given.seconds, given.threads, given.device)
        if given.out:
            given.out.write_text(json.dumps(times) + "\n")
        sys.exit(0 if show_speed(times, given.floor) else 1)
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
        sys.exit(0 if perform(given, given.keep.resolve()) else 1)
    with tempfile.TemporaryDirectory() as folder:
        well = perform(given, Path(folder))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
