"""Parts shared by all programs: the fixed workloads, their operation counts, the clock, and the workers' line protocol.

Only the standard library is imported here: a worker sets up its threads before numpy, torch or jax are loaded.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MEMBERS = 7
ROWS = 256
OBS = 11
ACT = 3
INPUTS = OBS + ACT
TARGETS = OBS + 1  # change of the observation, and the reward
HIDDEN = [200] * 4
AGENT_HIDDEN = [256, 256]
REPLAY = 10_000
EPOCHS = 10
#: Number of whole batches of an epoch. The 16 remaining rows are not visited, so that every step has one shape.
STEPS_AN_EPOCH = REPLAY // ROWS
VALUE_HEADS = 4

MODEL_LR = 1e-3
WEIGHT_DECAY = 1e-5
BOUNDS_WEIGHT = 0.01
LOGVAR_BOUNDS = (-10.0, 0.5)
#: Bounds of the policy's log standard deviation in rollouts, low + (high - low) (tanh(raw) + 1) / 2.
LOG_STD_BOUNDS = (-5.0, 2.0)
AGENT_LR = 3e-4
DISCOUNT = 0.99
TAU = 0.005

#: Sizes of the agent that learns through the model (DHMBPO): steps of the model, critics, target critics in a target,
#: and the model's members, each of which predicts one block of rows per step.
HORIZON = 5
CRITICS = 5
TARGET_CRITICS = 2
BLOCKS = 8
LONG_DISCOUNT = 0.995
LAYER_NORM_EPS = 1e-5
#: Quantiles of the rewards that bound the critics' values, and the rate at which an update moves the bounds.
QUANTILES = (0.01, 0.99)
BOUNDS_RATE = 3e-4
#: Number of imagined states that updates start from.
POOL = 51_200

GEMM_SIZES = (1024, 2048)
#: Size of a product whose matrices stay in the cache, similar to the products of an update.
GEMM_SMALL = 256
#: Number of starts and horizon by workload.
ROLLOUTS = {"rollout_10k_5": (10_000, 5), "rollout_100k_1": (100_000, 1), "rollout_100k_5": (100_000, 5)}
#: Workloads that are timed only if they are named: one for GPUs, and the small product.
IF_NAMED = ("rollout_100k_5", "sgemm_256")
#: Number of rows per member in rollouts that run tile by tile, so that activations stay in the cache.
TILE = 286
#: Part of the name of variants that do not draw members anew; they are shown, but not compared.
FIXED = "fixed members"


def model_flops(outputs: int) -> int:
    """Operations of one gradient step of the ensemble: forward, and backward without the gradient of the inputs."""
    sizes = [INPUTS, *HIDDEN, outputs]
    weights = sum(i * o for i, o in zip(sizes, sizes[1:]))
    return 2 * ROWS * MEMBERS * (3 * weights - INPUTS * HIDDEN[0])


def sac_flops() -> int:
    """Operations of one update: the actor runs at s' and is trained at s; two critics run at s', are trained at s, and
    propagate the actor's gradient.
    """
    actor = OBS * 256 + 256 * 256 + 256 * 2 * ACT
    critic = INPUTS * 256 + 256 * 256 + 256
    return 2 * ROWS * (actor * (1 + 3) + 2 * critic * (1 + 3 + 2))


def dh_flops(critic_only: bool = False) -> int:
    """Operations of one update of the agent that learns through the model.

    Forward: the actor at s_0 to s_5, one member per step, two targets at s_5. The critics are trained at s_0. After
    that the critics run at s_5 forward and back to their inputs, and the gradient goes back through members and
    actor; the members' weights have no gradient.
    """
    actor = OBS * 256 + 256 * 256 + 256 * 2 * ACT
    critic = INPUTS * 256 + 256 * 256 + 256
    sizes = [INPUTS, *HIDDEN, 2 * TARGETS]
    member = sum(i * o for i, o in zip(sizes, sizes[1:]))
    weights = (HORIZON + 1) * actor + HORIZON * member + TARGET_CRITICS * critic
    weights += CRITICS * (3 * critic - INPUTS * 256)
    if not critic_only:
        weights += CRITICS * 2 * critic + HORIZON * member + (HORIZON + 1) * 2 * actor - OBS * 256
    return 2 * ROWS * weights


def rollout_flops(starts: int, horizon: int) -> int:
    """Operations of all transitions: the actor and one member forward."""
    nets = ([OBS, *AGENT_HIDDEN, 2 * ACT], [INPUTS, *HIDDEN, 2 * TARGETS])
    return 2 * starts * horizon * sum(i * o for sizes in nets for i, o in zip(sizes, sizes[1:]))


#: Number of floating-point operations of one iteration; that of `sgemm` depends on its size.
FLOPS = {"model_step": model_flops(2 * TARGETS), "vagram_step": model_flops(TARGETS), "sac_update": sac_flops()}
FLOPS |= {"dh_update": dh_flops(), "dh_critic_update": dh_flops(critic_only=True), "sgemm_256": 2 * GEMM_SMALL**3}
FLOPS |= {workload: rollout_flops(*size) for workload, size in ROLLOUTS.items()}


def quota(starts: int, tile: int | None) -> int:
    """Returns the number of rows of each member for at least `starts` rows in total: equal for all members, and whole
    tiles.
    """
    tile = tile or 1
    return -(-starts // (MEMBERS * tile)) * tile


# The clock.


@dataclass
class Runner:
    """A variant that is ready to run: one blocking call makes `steps` iterations."""

    call: Callable[[], Any]
    steps: int = 1
    flops: float | None = None
    #: Returns the state after the calls so far, for checks.
    state: Callable[[], Any] | None = None


def percentile(values: list[float], q: float) -> float:
    """Returns a percentile with linear interpolation, as numpy does."""
    ranked, at = sorted(values), q * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (at - low)


def measure(runner: Runner, seconds: float) -> dict[str, float]:
    """Returns the milliseconds per iteration over calls that fill `seconds`: percentiles, minimum, and the number of
    calls.
    """
    started = time.perf_counter()
    runner.call()
    once = time.perf_counter() - started
    # Caches and clock settle after the other programs' turn. In a first call of half a second that is a small part, so
    # the call counts.
    times = [once * 1e3 / runner.steps] if once >= 0.5 else []
    while once < 0.5 and time.perf_counter() - started < 0.1:
        runner.call()
    started = time.perf_counter() - once if times else time.perf_counter()
    while not times or time.perf_counter() - started < seconds:
        begin = time.perf_counter()
        runner.call()
        times.append((time.perf_counter() - begin) * 1e3 / runner.steps)
    p10, median, p90 = (percentile(times, q) for q in (0.1, 0.5, 0.9))
    return {"median_ms": median, "p10_ms": p10, "p90_ms": p90, "min_ms": min(times), "n": len(times)}


# The worker.

Variants = dict[str, dict[str, Callable[[], Runner]]]


class Worker:
    """A program's variants of every workload. A variant is built on first use and kept."""

    def __init__(self, program: str, version: str, threads: int, variants: Variants) -> None:
        self.program, self.version, self.threads, self.variants = program, version, threads, variants
        self.built: dict[tuple[str, str], Runner] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers one request; a failure becomes `error`."""
        if request.get("list"):
            return {
                "program": self.program,
                "version": self.version,
                "python": platform.python_version(),
                "variants": {workload: list(variants) for workload, variants in self.variants.items()},
            }
        workload, variant = request.get("workload", ""), request.get("variant", "")
        try:
            return self.time(workload, variant, float(request.get("seconds", 2.0)))
        except Exception as error:  # an error of a library in one variant must not end the others
            message = f"{type(error).__name__}: {str(error)[:500]}"
            return {"program": self.program, "workload": workload, "variant": variant, "error": message}

    def time(self, workload: str, variant: str, seconds: float) -> dict[str, Any]:
        """Measures one variant."""
        key = (workload, variant)
        if key not in self.built:
            runner = self.variants[workload][variant]()
            for _ in range(3 if runner.steps < 100 else 1):
                runner.call()
            self.built[key] = runner
        runner = self.built[key]
        result = measure(runner, seconds)
        # The rate of a product is a peak, so the best call is used; every other rate is that of the median.
        basis = result["min_ms" if workload.startswith("sgemm") else "median_ms"]
        flops = runner.flops or FLOPS[workload]
        head = {"program": self.program, "workload": workload, "variant": variant}
        return head | result | {"threads": self.threads, "gflops": flops / basis / 1e6}

    def serve(self) -> None:
        """Answers requests, one JSON object per line, until the input ends."""
        # Libraries may print, but only answers may be written to the pipe.
        answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(json.dumps(self.answer(json.loads(line))) + "\n")

    def table(self, workloads: list[str], seconds: float) -> None:
        """Times the named workloads and prints a table."""
        print(f"{self.program} {self.version}, {self.threads} threads")
        print(f"{'workload':<16} {'variant':<42} {'median ms':>10} {'p10':>9} {'p90':>9} {'GFLOP/s':>8}")
        for workload in workloads or [name for name in self.variants if name not in IF_NAMED]:
            for variant in self.variants[workload]:
                r = self.answer({"workload": workload, "variant": variant, "seconds": seconds})
                numbers = r.get("error") or (
                    f"{r['median_ms']:>10.3f} {r['p10_ms']:>9.3f} {r['p90_ms']:>9.3f} {r['gflops']:>8.1f}"
                )
                print(f"{workload:<16} {variant:<42} {numbers}", flush=True)


def arguments(description: str | None) -> argparse.Namespace:
    """Parses a worker's command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", help=f"workloads to time; default: all but {', '.join(IF_NAMED)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds per variant")
    parser.add_argument("--serve", action="store_true", help="answer JSON requests on standard input")
    return parser.parse_args()


def pin(threads: int) -> None:
    """Restricts this process, and those it starts, to as many cores as there are threads."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        sys.exit(f"--threads is {threads}, but this process may use only {len(cores)} cores\nhint: --threads {len(cores)}")
    os.sched_setaffinity(0, cores[:threads])


def set_threads(threads: int) -> None:
    """Pins the process and sizes the thread pools of OpenMP, MKL and OpenBLAS. Must be called before these are loaded.
    """
    pin(threads)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
