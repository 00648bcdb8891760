"""The work folder of one wanted run, and how the run stands.

    <work>/<group>/<method>/seed-<n>/
      run/              the program's own run folder
      lock              who runs it, and the process that trains
      asked.json        the settings that it was begun with
      segments.jsonl    a line when a process begins, a line when it ends
      log               what the program printed
      failed            why it is not taken up again by itself

A lock counts while its runner or its program lives; a process is known by its number, the time it began, and the boot
of the machine. Locks are taken and given back under one more lock of the whole work folder, which the operating system
drops with its process.
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
from learning.entries import Refused, Wanted, env_steps, identity, source_of

STEP = re.compile(r"step-(\d+)(?:-(\d+))?")


# Processes.


def began(pid: int) -> str | None:
    """When a living process began, in the kernel's ticks since the boot; none where there is no such process."""
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
    """A name of the machine's present boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def process(pid: int) -> dict[str, Any]:
    """A process as a lock names it."""
    return {"pid": pid, "began": began(pid), "boot": boot()}


def lives(entry: Any) -> bool:
    """True if the process that a lock names still runs."""
    if not isinstance(entry, dict) or not isinstance(entry.get("pid"), int) or entry.get("boot") != boot():
        return False
    now = began(entry["pid"])
    return now is not None and now == entry.get("began")


@contextlib.contextmanager
def choosing(root: Path) -> Iterator[None]:
    """One runner at a time chooses among the runs of a work folder."""
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
        """What a JSON file of the folder holds; none where it is not there or half written."""
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return None

    def write(self, name: str, value: Any) -> None:
        """A JSON file, whole or not at all."""
        temporary = self.folder / f"{name}.tmp"
        temporary.write_text(json.dumps(value) + "\n")
        os.replace(temporary, self.folder / name)

    # The lock.

    def holder(self) -> int | None:
        """The living process that holds the run: its runner, or a program whose runner is gone."""
        lock = self.read("lock")
        if isinstance(lock, dict):
            for entry in (lock.get("runner"), lock.get("program")):
                if lives(entry):
                    return int(entry["pid"])
        return None

    def take(self) -> None:
        """Locks the run for this process; only while choosing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write("lock", {"runner": process(os.getpid())})

    def name_program(self, pid: int) -> None:
        """Adds the training process to the lock."""
        self.write("lock", {"runner": process(os.getpid()), "program": process(pid)})

    def give_back(self) -> None:
        """Unlocks."""
        (self.folder / "lock").unlink(missing_ok=True)

    # The run.

    def checkpoint(self) -> tuple[Path, int] | None:
        """The newest checkpoint and its step."""
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
        """Seconds of training up to the newest checkpoint, segments together."""
        newest = self.checkpoint()
        if newest is None:
            return None
        try:
            manifest = json.loads((newest[0] / "manifest.json").read_text())
            return float(manifest["manifest"]["extra"]["wall_s"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def manifest(self) -> dict[str, Any]:
        """The run's own manifest."""
        try:
            manifest = json.loads((self.run / "manifest.json").read_text())
        except (OSError, ValueError):
            return {}
        return manifest if isinstance(manifest, dict) else {}

    def step(self) -> int:
        """The newest step that a record tells of."""
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
        """Removes a run folder without a checkpoint: a process that was killed before its first one."""
        if self.run.exists() and self.checkpoint() is None:
            shutil.rmtree(self.run)

    # Segments.

    def note(self, line: dict[str, Any]) -> None:
        """Adds a line about a process."""
        with (self.folder / "segments.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def segments(self) -> list[dict[str, Any]]:
        """All lines about processes."""
        found = []
        with contextlib.suppress(OSError):
            for line in (self.folder / "segments.jsonl").read_text().splitlines():
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    def forget(self) -> None:
        """Makes ready for a run from the beginning."""
        for name in ("segments.jsonl", "failed", "asked.json"):
            (self.folder / name).unlink(missing_ok=True)


def asked(wanted: Wanted, source: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that its results depend on: the config's content, and overrides."""
    content = {key: value for key, value in source.items() if key not in ("seed", "threads")}
    if isinstance(content.get("training"), dict):
        content["training"] = {key: value for key, value in content["training"].items() if key != "env_steps"}
    text = json.dumps(content, sort_keys=True, default=str)
    return {
        "config": wanted.config,
        "content": hashlib.sha256(text.encode()).hexdigest()[:12],
        "set": identity(wanted.overrides),
        "seed": wanted.seed,
    }


# How a run stands.


@dataclass
class State:
    """How a wanted run stands: `done`, `running`, `cut`, `missing`, `failed` or `refused`."""

    kind: str
    step: int = 0
    note: str = ""


@dataclass
class Places:
    """The folders that everything lies in."""

    repository: Path
    results: Path
    work: Path

    def result(self, wanted: Wanted) -> Path:
        """The run's result file."""
        return self.results / f"{wanted.name}.csv"

    def of(self, wanted: Wanted) -> Work:
        """The run's work folder."""
        return Work(self.work / wanted.name)


def state(wanted: Wanted, places: Places) -> State:
    """How a run stands now."""
    file, work = places.result(wanted), places.of(wanted)
    try:
        outcome = results.read(file, wanted.seed)
        steps = env_steps(wanted, source_of(wanted, places.repository)) if outcome is None or outcome.points else 0
        if outcome is not None and not outcome.fits(wanted.config, wanted.overrides):
            hint = "remove the file to run it again, or give the method another name"
            raise Refused(f"{wanted.name}: `{file}` is of another config or of other overrides\nhint: {hint}")
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
    """The time of day, for messages."""
    return time.strftime("%H:%M:%S")
