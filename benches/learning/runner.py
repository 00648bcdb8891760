"""Trains wanted runs: chooses the next ones, starts or resumes their programs, and stores their results.

A program is started with the lowest priority, with one thread, and in a separate session, so that a terminal's
Ctrl-C reaches it only through the runner. The program saves and ends at the first signal, and ends immediately at
the second. Its exit codes are 0 for a complete run, 130 for one that was interrupted and saved, 1 for a failed one,
2 for refused input.
"""

import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learning import results
from learning.entries import Refused, Wanted, env_steps, source_of
from learning.work import Places, Work, asked, choosing, now, state

#: Seconds between checks of the programs.
PAUSE = 0.2
#: Seconds between lines of progress.
PROGRESS = 600.0
INTERRUPTED = 130
BAD_INPUT = 2
#: Settings of libraries below the program that have their own thread pools.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def say(message: str) -> None:
    """Prints a line to standard error, with the time of day."""
    print(f"{now()} {message}", file=sys.stderr, flush=True)


def yield_to_others(pid: int) -> None:
    """Gives a session the lowest weight too, in case the kernel divides the processor among sessions first."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text("19")
    except OSError:
        pass


def find_program(given: str | None, repository: Path) -> Path:
    """Returns the program: the given one, or that of a release build."""
    targets = [os.environ.get("CARGO_TARGET_DIR"), str(repository / "target")]
    built = [Path(target) / "release" / "foresee" for target in targets if target]
    for path in [Path(given)] if given else built:
        if path.is_file() and os.access(path, os.X_OK):
            return path.resolve()
    if given:
        raise Refused(
            f"`{given}` is not an executable file\n"
            "hint: build the program with `cargo build --release -p foresee-cli`, or name it with --foresee"
        )
    places = " or ".join(f"`{path}`" for path in built)
    raise Refused(
        f"found no program `foresee` at {places}\n"
        "hint: build it with `cargo build --release -p foresee-cli`, or name it with --foresee"
    )


# What a run was made with.


def machine() -> str:
    """Returns the processor and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or "unknown processor"
    return f"{name}, {os.cpu_count()} cores"


def commit(repository: Path) -> str:
    """Returns the commit of the working tree, with `+` if it was changed since, or the value of `FORESEE_COMMIT`."""
    if os.environ.get("FORESEE_COMMIT"):
        return os.environ["FORESEE_COMMIT"]

    def git(*words: str) -> str:
        command = ["git", "-C", str(repository), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def version(program: Path) -> str:
    """Returns the program's version."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
        return done.stdout.split()[-1]
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return "unknown"


def distinct(values: list[Any]) -> str:
    """Returns the distinct values in order."""
    return ", ".join(dict.fromkeys(str(value) for value in values if value)) or "unknown"


def outcome_of(wanted: Wanted, work: Work, steps: int) -> results.Outcome:
    """Returns a finished run's result; raises `ValueError` or `OSError` if its folder does not contain one."""
    config, seconds = results.config_of(work.run), work.seconds()
    newest = work.checkpoint()
    points = results.evaluations(work.run, (newest[1] if newest else steps, seconds))
    if not points or points[-1].step < steps:
        raise ValueError(f"its last evaluation is at step {points[-1].step if points else 0}, and not at {steps}")
    if seconds is None:
        seconds = points[-1].seconds or 0.0
    lines = work.segments()
    begun, ended = [x for x in lines if x.get("what") == "begun"], [x for x in lines if x.get("what") == "ended"]
    about = {
        "machine": distinct([line.get("machine") for line in begun]),
        "commit": distinct([line.get("commit") for line in begun]),
        "program": distinct([line.get("program") for line in begun]),
        "env": str(work.manifest().get("env") or config.get("env", {}).get("id", "unknown")),
        "from": wanted.config,
    }
    if wanted.overrides:
        about["with"] = shlex.join(wanted.overrides)
    if len(begun) > 1:
        about["segments"] = str(len(begun))
    if begun and len(begun) == len(ended) and all("cpu_s" in line for line in ended):
        about["cpu"] = f"{sum(line['cpu_s'] for line in ended):.0f} s"
    return results.Outcome(wanted.seed, results.fingerprint(config), seconds, points, about)


# Jobs.


@dataclass
class Job:
    """A program that is training."""

    wanted: Wanted
    work: Work
    steps: int
    pid: int
    log: int
    started: float
    told: float = field(default_factory=time.monotonic)

    def signal(self, which: int) -> None:
        """Sends a signal to the program."""
        try:
            os.kill(self.pid, which)
        except ProcessLookupError:
            pass


class Runner:
    """Executes wanted runs, several side by side."""

    def __init__(self, places: Places, program: Path, runs: list[Wanted], jobs: int, seconds: float | None) -> None:
        self.places, self.program, self.runs, self.most = places, program, runs, jobs
        self.end = None if seconds is None else time.monotonic() + seconds
        self.made = {"program": version(program), "commit": commit(places.repository), "machine": machine()}
        self.jobs: list[Job] = []
        #: Names of the runs that this call has tried. No run is tried twice.
        self.tried: set[str] = set()
        #: Reasons of refusals that were already printed.
        self.told: set[str] = set()
        self.signals = 0
        self.passed_on = 0
        self.over = False
        self.started = self.done = self.cut = self.failed = self.refused = 0

    # Choosing.

    def next(self) -> Job | None:
        """Takes and starts the next run that is neither done nor held; within a priority, cut runs come before missing
        ones.
        """
        with choosing(self.places.work):
            found: list[tuple[tuple[int, bool, int, int], Wanted]] = []
            for wanted in self.runs:
                if wanted.name in self.tried:
                    continue
                now = state(wanted, self.places)
                if now.kind == "refused":
                    self.tried.add(wanted.name)
                    self.refuse(now.note)
                elif now.kind in ("missing", "cut"):
                    priority, *rest = wanted.rank
                    found.append(((priority, now.kind == "missing", *rest), wanted))
            for _, wanted in sorted(found, key=lambda each: each[0]):
                self.tried.add(wanted.name)
                try:
                    job = self.start(wanted)
                except Refused as refused:
                    self.refuse(str(refused))
                    continue
                if job is not None:
                    return job
        return None

    def refuse(self, message: str) -> None:
        """Reports a run that cannot be executed as the list describes it."""
        self.refused += 1
        _, _, why = message.partition(": ")
        if why not in self.told:
            # Other seeds of an entry are refused for an equal reason.
            self.told.add(why)
            say(message)

    def start(self, wanted: Wanted) -> Job | None:
        """Starts or resumes a run; returns none if it is already complete."""
        work, source = self.places.of(wanted), source_of(wanted, self.places.repository)
        steps, own = env_steps(wanted, source), asked(wanted, source)
        work.take()
        try:
            work.drop_what_cannot_go_on()
            if work.run.exists():
                return self.resume(wanted, work, steps, own)
            work.forget()
            work.write("asked.json", own)
            command = ["train", str(self.places.repository / wanted.config), *wanted.overrides]
            command += [f"seed={wanted.seed}", "threads=1", "--run-dir", str(work.run)]
            say(f"{wanted.name}: begins, {steps} steps")
            return self.spawn(wanted, work, steps, command)
        except BaseException:
            work.give_back()
            raise

    def resume(self, wanted: Wanted, work: Work, steps: int, own: dict[str, Any]) -> Job | None:
        """Continues a run from its newest checkpoint, or stores its results if it is complete."""
        if work.read("asked.json") != own:
            raise Refused(
                f"{wanted.name}: the unfinished run in `{work.folder}` has other settings than its entry in the list\n"
                "hint: remove the folder to start again, or restore the config or the entry"
            )
        _, at = work.checkpoint() or (None, 0)
        if at >= steps and work.manifest().get("status") == "finished":
            self.keep(wanted, work, steps)
            work.give_back()
            return None
        say(f"{wanted.name}: resumes at step {at} of {steps}")
        longer = [] if results.steps_in_force(work.run) == steps else [f"training.env_steps={steps}"]
        return self.spawn(wanted, work, steps, ["resume", str(work.run), *longer])

    def spawn(self, wanted: Wanted, work: Work, steps: int, command: list[str]) -> Job:
        """Starts the program."""
        log = os.open(work.folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        os.write(log, f"$ foresee {shlex.join(command)}\n".encode())
        try:
            process = subprocess.Popen(
                [self.program, *command],
                cwd=self.places.repository,
                env=os.environ | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            os.close(log)
            raise Refused(f"cannot start `{self.program}`: {error}\nhint: give another --foresee") from None
        yield_to_others(process.pid)
        # The program is awaited by its process number, which gives its processor time.
        process.returncode = 0
        work.name_program(process.pid)
        work.note({"what": "begun", "unix_s": int(time.time()), **self.made})
        self.started += 1
        return Job(wanted, work, steps, process.pid, log, time.monotonic())

    # Ends of programs.

    def reap(self, job: Job) -> bool:
        """Checks whether a program has ended, and handles its outcome."""
        pid, status, usage = os.wait4(job.pid, os.WNOHANG)
        if pid == 0:
            return False
        os.close(job.log)
        code = os.waitstatus_to_exitcode(status)
        job.work.note(
            {
                "what": "ended",
                "unix_s": int(time.time()),
                "code": code,
                "seconds": round(time.monotonic() - job.started, 1),
                "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
            }
        )
        try:
            self.ended(job, code)
        except Refused as refused:
            self.refuse(str(refused))
        job.work.give_back()
        return True

    def ended(self, job: Job, code: int) -> None:
        """Handles the exit code of a run."""
        name, work = job.wanted.name, job.work
        newest = work.checkpoint()
        if code == 0:
            self.keep(job.wanted, work, job.steps)
        elif code == BAD_INPUT:
            self.refuse(f"{name}: `foresee` refused the config or its overrides\n{self.tail(job)}")
        elif code == INTERRUPTED or code < 0:
            how = "interrupted" if code == INTERRUPTED else f"was killed by signal {-code}"
            self.cut += 1
            say(f"{name}: {how}; a later call resumes it at step {newest[1] if newest else 0} of {job.steps}")
        else:
            self.fail(name, work, f"the program ended with {code}\n{self.tail(job)}")

    def keep(self, wanted: Wanted, work: Work, steps: int) -> None:
        """Writes a finished run's result file."""
        try:
            outcome = outcome_of(wanted, work, steps)
        except (OSError, ValueError, KeyError) as error:
            self.fail(wanted.name, work, f"its run folder has no complete result: {error}")
            return
        file, last = self.places.result(wanted), outcome.points[-1]
        try:
            results.write(file, outcome)
        except OSError as error:
            raise Refused(f"cannot write `{file}`: {error}\nhint: give another --results; the run is kept") from None
        self.done += 1
        say(f"{wanted.name}: done, {last.mean:.1f} at step {last.step}, {outcome.seconds:.0f} s; `{file}`")

    def fail(self, name: str, work: Work, message: str) -> None:
        """Marks a run as one that is not resumed automatically."""
        self.failed += 1
        work.write("failed", {"message": message.splitlines()[0]})
        say(f"{name}: failed: {message}\nhint: see its output in `{work.folder / 'log'}`; run with --retry to resume it")

    def tail(self, job: Job) -> str:
        """Returns the last lines that the program printed since its start."""
        lines = (job.work.folder / "log").read_text(errors="replace").splitlines()
        start = max((n for n, line in enumerate(lines) if line.startswith("$ foresee ")), default=-1)
        return "\n".join("    " + line for line in lines[start + 1 :][-6:])

    # The loop.

    def on_signal(self, number: int, frame: Any) -> None:
        """Handles a signal to the runner."""
        self.signals += 1

    def stop(self, why: str) -> None:
        """Starts no more runs, and asks the programs to save and end."""
        self.over = True
        if self.jobs:
            runs = "1 run" if len(self.jobs) == 1 else f"{len(self.jobs)} runs"
            say(f"{why}: waiting for {runs} to save and end")
        for job in self.jobs:
            job.signal(signal.SIGTERM)

    def look(self) -> None:
        """Checks time, signals and programs once."""
        while self.signals > self.passed_on:
            self.passed_on += 1
            if self.passed_on > 1:
                say("second signal: the programs end immediately and keep their newest checkpoints")
                for job in self.jobs:
                    job.signal(signal.SIGTERM)
            elif self.over:
                say("signal received: the programs are already saving")
            else:
                self.stop("signal received")
        if self.end is not None and not self.over and time.monotonic() >= self.end:
            self.stop("the hours given by --hours are over")
        self.jobs = [job for job in self.jobs if not self.reap(job)]
        for job in self.jobs:
            if time.monotonic() - job.told >= PROGRESS:
                job.told = time.monotonic()
                say(f"{job.wanted.name}: at step {job.work.step()} of {job.steps}")

    def run(self, sleep: Callable[[float], None] = time.sleep) -> int:
        """Executes as many runs as there are jobs or, if a time is given, further runs until the time is over."""
        kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {kind: signal.signal(kind, self.on_signal) for kind in kinds}
        os.nice(19)
        try:
            while True:
                while not self.over and self.signals == 0 and len(self.jobs) < self.most:
                    if self.end is None and self.started >= self.most:
                        break
                    job = self.next()
                    if job is None:
                        break
                    self.jobs.append(job)
                if not self.jobs:
                    break
                sleep(PAUSE)
                self.look()
        finally:
            # After an error of the runner itself no program is left running.
            if self.jobs:
                self.stop("an error")
            while self.jobs:
                self.jobs = [job for job in self.jobs if not self.reap(job)]
                time.sleep(PAUSE)
            for kind, handler in before.items():
                signal.signal(kind, handler)
        return self.code()

    def code(self) -> int:
        """Returns the exit code."""
        if self.signals:
            return INTERRUPTED
        if self.failed:
            return 1
        if self.refused and not (self.done or self.cut):
            return 2
        if not (self.started or self.done):
            say("nothing to run: every run is finished, running elsewhere, or failed; --list prints the states")
        return 0
