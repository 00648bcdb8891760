"""The work folder of one wanted run, and the run's state.

    <work>/<group>/<method>/seed-<n>/
      run/              the program's own run folder
      lock              the runner that holds the run, and the process that trains
      asked.json        the settings that the run began with
      segments.jsonl    a line when a process begins, a line when it ends
      log               the program's output
      failed            the reason why the run is not resumed automatically

A lock is valid while its runner or its program is alive. A process is identified by its number, its start time, and
the boot of the machine. Locks are taken and released under a further lock of the whole work folder, which the
operating system releases when its process ends.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning import results
from learning.entries import Refused, Wanted, env_steps, identity, old_names, source_of

STEP = re.compile(r"step-(\d+)(?:-(\d+))?")


# Processes.


def began(pid: int) -> str | None:
    """Returns the start time of a living process, in the kernel's ticks since the boot; none if there is no such
    process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"


def boot() -> str:
    """Returns a name of the machine's current boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def process(pid: int) -> dict[str, Any]:
    """Returns a process in the form that a lock contains."""
    return {"pid": pid, "began": began(pid), "boot": boot()}


def lives(entry: Any) -> bool:
    """Whether the process in a lock is still running."""
    if not isinstance(entry, dict) or not isinstance(entry.get("pid"), int) or entry.get("boot") != boot():
        return False
    now = began(entry["pid"])
    return now is not None and now == entry.get("began")


@contextlib.contextmanager
def choosing(root: Path) -> Iterator[None]:
    """Lets only one runner at a time choose among the runs of a work folder."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        guard = (root / ".choosing").open("w")
    except OSError as error:
        raise Refused(f"cannot write to the work folder `{root}`: {error}\nhint: give another --work") from None
    with guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


# The folder.


@dataclass
class Work:
    """A wanted run's folder."""

    folder: Path

    @property
    def run(self) -> Path:
        """The program's run folder."""
        return self.folder / "run"

    def read(self, name: str) -> Any:
        """Returns the content of a JSON file of the folder; none if it does not exist or is half written."""
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return None

    def write(self, name: str, value: Any) -> None:
        """Writes a JSON file atomically."""
        temporary = self.folder / f"{name}.tmp"
        temporary.write_text(json.dumps(value) + "\n")
        os.replace(temporary, self.folder / name)

    # The lock.

    def holder(self) -> int | None:
        """Returns the living process that holds the run: its runner, or a program whose runner has ended."""
        lock = self.read("lock")
        if isinstance(lock, dict):
            for entry in (lock.get("runner"), lock.get("program")):
                if lives(entry):
                    return int(entry["pid"])
        return None

    def take(self) -> None:
        """Locks the run for this process. Must be called inside `choosing`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write("lock", {"runner": process(os.getpid())})

    def name_program(self, pid: int) -> None:
        """Adds the training process to the lock."""
        self.write("lock", {"runner": process(os.getpid()), "program": process(pid)})

    def give_back(self) -> None:
        """Releases the lock."""
        (self.folder / "lock").unlink(missing_ok=True)

    # The run.

    def checkpoint(self) -> tuple[Path, int] | None:
        """Returns the newest checkpoint and its step."""
        try:
            names = [entry.name for entry in (self.run / "checkpoints").iterdir()]
        except OSError:
            return None
        found = [(int(m[1]), int(m[2] or 0), m[0]) for m in map(STEP.fullmatch, names) if m]
        if not found:
            return None
        step, _, name = max(found)
        return self.run / "checkpoints" / name, step

    def seconds(self) -> float | None:
        """Returns the seconds of training up to the newest checkpoint, over all segments."""
        newest = self.checkpoint()
        if newest is None:
            return None
        try:
            manifest = json.loads((newest[0] / "manifest.json").read_text())
            return float(manifest["manifest"]["extra"]["wall_s"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def manifest(self) -> dict[str, Any]:
        """Returns the run's own manifest."""
        try:
            manifest = json.loads((self.run / "manifest.json").read_text())
        except (OSError, ValueError):
            return {}
        return manifest if isinstance(manifest, dict) else {}

    def step(self) -> int:
        """Returns the newest step in the run's records."""
        try:
            with (self.run / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
                lines = file.read().splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return int(json.loads(line)["env_step"])
        return 0

    def drop_what_cannot_go_on(self) -> None:
        """Removes a run folder without a checkpoint, which a process left that was killed before its first one."""
        if self.run.exists() and self.checkpoint() is None:
            shutil.rmtree(self.run)

    # Segments.

    def note(self, line: dict[str, Any]) -> None:
        """Adds a line about a process."""
        with (self.folder / "segments.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def segments(self) -> list[dict[str, Any]]:
        """Returns all lines about processes."""
        found = []
        with contextlib.suppress(OSError):
            for line in (self.folder / "segments.jsonl").read_text().splitlines():
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    def forget(self) -> None:
        """Prepares for a run from the start."""
        for name in ("segments.jsonl", "failed", "asked.json"):
            (self.folder / name).unlink(missing_ok=True)


def asked(wanted: Wanted, source: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a run that determine its results: the config's content, and overrides."""
    content = {key: value for key, value in old_names(source).items() if key not in ("seed", "threads")}
    if isinstance(content.get("training"), dict):
        content["training"] = {key: value for key, value in content["training"].items() if key != "env_steps"}
    text = json.dumps(content, sort_keys=True, default=str)
    return {
        "config": wanted.config,
        "content": hashlib.sha256(text.encode()).hexdigest()[:12],
        "set": identity(wanted.overrides),
        "seed": wanted.seed,
    }


# The state of a run.


@dataclass
class State:
    """The state of a wanted run: `done`, `running`, `cut`, `missing`, `failed` or `refused`."""

    kind: str
    step: int = 0
    note: str = ""


@dataclass
class Places:
    """The folders of the repository, of the results and of the work."""

    repository: Path
    results: Path
    work: Path

    def result(self, wanted: Wanted) -> Path:
        """Returns the path of the run's result file."""
        return self.results / f"{wanted.name}.csv"

    def of(self, wanted: Wanted) -> Work:
        """Returns the run's work folder."""
        return Work(self.work / wanted.name)


def state(wanted: Wanted, places: Places) -> State:
    """Returns the current state of a run."""
    file, work = places.result(wanted), places.of(wanted)
    try:
        outcome = results.read(file, wanted.seed)
        steps = env_steps(wanted, source_of(wanted, places.repository)) if outcome is None or outcome.points else 0
        if outcome is not None and not outcome.fits(wanted.config, wanted.overrides):
            hint = "remove the file to run it again, or give the method another name"
            raise Refused(f"{wanted.name}: `{file}` is the result of another config or other overrides\nhint: {hint}")
    except Refused as refused:
        return State("refused", note=str(refused))
    last = outcome.points[-1].step if outcome and outcome.points else 0
    if last >= steps > 0:
        return State("done", last)
    holder = work.holder()
    if holder is not None:
        return State("running", work.step(), f"process {holder}")
    newest = work.checkpoint()
    at = newest[1] if newest else 0
    failed = work.read("failed")
    if failed:
        return State("failed", at, str(failed.get("message", "")) if isinstance(failed, dict) else "")
    if newest:
        return State("cut", at, f"of {steps}")
    return State("missing", note=f"of {steps}")


def now() -> str:
    """Returns the time of day, for messages."""
    return time.strftime("%H:%M:%S")
