"""PyTorch's worker of `gpu.py`: the fixed workloads on one GPU.

| way | how a step is run |
|---|---|
| `eager` | one kernel after the other |
| `compile` | the losses (of rollouts: the step) by torch.compile, the optimiser's fused kernels beside them |
| `compile, reduce-overhead` | the same, and torch.compile replays its parts as CUDA graphs |
| `graph, eager`; `graph, compile` | the whole step, gradients and optimiser included, captured by hand and replayed |
| `graph, max-autotune` | as `graph, compile`, with products and their forms chosen by measuring |

`whole` is SAC's update as one compiled function of its state (`torch_whole.py`), written over its own tensors.
Nothing waits for the device but the end of a call. On the CPU, for a rehearsal, graphs and their modes are left out.
"""

import gpu_worker

if __name__ == "__main__":
    ARGUMENTS = gpu_worker.arguments(__doc__)
    if ARGUMENTS.threads:
        import common

        common.set_threads(ARGUMENTS.threads)

import argparse
import gc
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

import data
import torch_peer
import torch_rollout
from common import FLOPS, MEMBERS, OBS, REPLAY, ROWS, STEPS_AN_EPOCH, TARGETS, quota
from gpu_worker import (
    COLUMNS, FULL, NO_PRODUCTS, PRECISIONS, SMALL, STEPS, Checked, Job, Program, Sizes, Wrong, follows, precise, ranked,
    rollout_numbers, trains, updates,
)  # fmt: skip
from torch_nets import Ensemble, Sac, model_adam, value_weights
from torch_whole import WholeUpdate, parts


@dataclass(frozen=True)
class Way:
    """The way to run a step: with or without a mode of torch.compile, and with or without a CUDA graph of the whole
    step.
    """

    mode: str | None = None
    graph: bool = False


WAYS = {
    "graph, compile": Way("default", graph=True),
    "graph, eager": Way(graph=True),
    "eager": Way(),
    "compile, reduce-overhead": Way("reduce-overhead"),
    "compile": Way("default"),
    "graph, max-autotune": Way("max-autotune-no-cudagraphs", graph=True),
}
LAYOUTS = {"baddbmm": "baddbmm", "7 × addmm": "linear"}
CRITICS = ("batched", "separate")

#: Ranks by way, and by whether the layout is probably faster. They give the order of trials if time is short: even if
#: all graphs fail, there are eager times.
RANKS = {
    ("eager", True): 0,
    ("graph, compile", True): 1,
    ("graph, compile", False): 2,
    ("graph, eager", True): 3,
    ("compile, reduce-overhead", True): 4,
    ("graph, max-autotune", True): 5,
    ("compile", True): 6,
    ("eager", False): 7,
    ("graph, eager", False): 7,
}
MATMUL = {"f32": "highest", "tf32": "high", "bf16": "highest", NO_PRODUCTS: "highest"}


class Captured:
    """A step as one CUDA graph. Calling it replays the kernels of one call of `step`, with fixed addresses.

    Before the capture the step runs a few times, on the stream of the capture. One-time compilations, loads and
    allocations are then done, and the optimisers have their state.
    """

    def __init__(self, step: Callable[[], object], warm_up: int) -> None:
        self.step = step  # keeps the tensors that the graph reads and writes
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warm_up):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        # Otherwise a garbage collection in the middle of the capture could free blocks of dead cycles.
        gc.collect()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            step()

    def __call__(self) -> None:
        self.graph.replay()


@dataclass(frozen=True)
class Env:
    """The device and the sizes of the workloads."""

    device: str
    sizes: Sizes

    @property
    def gpu(self) -> bool:
        """Whether there is a GPU; without one this is a rehearsal."""
        return self.device == "cuda"

    def wait(self) -> None:
        """Waits until the device has finished all submitted work."""
        if self.gpu:
            torch.cuda.synchronize()

    def home(self) -> torch.device:
        """Returns a context in which new tensors are made on the device. Only for building, since it slows every call
        of torch.
        """
        return torch.device(self.device)

    @property
    def adam(self) -> str:
        """The form of Adam: its fused kernels, in a form that graphs allow."""
        return "capturable" if self.gpu else "fused"

    def compiled(self, way: Way, f: Callable, static: list[Tensor]) -> Callable:
        """Compiles a function in the way's mode. `static` are inputs with constant addresses, which graphs need not
        copy.
        """
        if way.mode is None:
            return f
        if way.mode == "reduce-overhead":
            for tensor in static:
                torch._dynamo.mark_static_address(tensor)
        return torch.compile(f, dynamic=False, mode=way.mode if self.gpu else "default")

    def graphed(self, way: Way, step: Callable[[], object], warm_up: int = 3) -> Callable[[], object]:
        """Returns the step as a graph, if the way has one."""
        return Captured(step, warm_up) if way.graph and self.gpu else step

    def repeated(self, way: Way, step: Callable[[], object], steps: int) -> Callable[[], None]:
        """Returns a call of several steps and one wait."""
        marked = way.mode == "reduce-overhead" and self.gpu

        def call() -> None:
            for _ in range(steps):
                if marked:
                    # The outputs of the last step's graphs are no longer used.
                    torch.compiler.cudagraph_mark_step_begin()
                step()
            self.wait()

        return call


# The workloads.


def gemm(env: Env, n: int, precision: str) -> Checked:
    """Square products, one after another."""
    steps, kind = env.sizes.gemm[n], torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(n, n, device=env.device).to(kind) for _ in range(2))
    out = torch.empty_like(a)
    call = env.repeated(Way(), lambda: torch.mm(a, b, out=out), steps)

    def check() -> dict:
        exact = a[0].double() @ b[:, :COLUMNS].double()
        return precise(precision, ((out[0, :COLUMNS] - exact).norm() / exact.norm()).item())

    return Checked(call, steps, flops=2 * n**3, check=check)


def counted(adam: torch.optim.Adam) -> Callable[[], int]:
    """Returns the number of steps that an optimiser has made."""
    return lambda: int(next((state["step"] for state in adam.state.values()), 0))


def valued(loss: Callable[[], Tensor]) -> Callable[[], float]:
    """Returns a loss as a number."""

    def value() -> float:
        with torch.no_grad():
            return loss().item()

    return value


def model_step(env: Env, way: Way, form: str) -> Checked:
    """Gradient steps on one batch."""
    with env.home():
        model = Ensemble(data.ensemble_parameters(2 * TARGETS), form)
        x, y = map(torch.tensor, data.model_batch())
    opt = model_adam(model, env.adam)
    loss = env.compiled(way, model.likelihood_loss, [x, y])

    def step() -> None:
        opt.zero_grad(set_to_none=True)
        loss(x, y).backward()
        opt.step()

    value = valued(lambda: model.likelihood_loss(x, y))
    first = value()
    runner = Checked(env.repeated(way, env.graphed(way, step), STEPS), STEPS, FLOPS["model_step"])
    runner.check = lambda: trains(runner, counted(opt), value, first)
    return runner


def vagram_step(env: Env, way: Way, form: str) -> Checked:
    """Whole training calls: the value gradients of all replay rows once, then epochs of gathered batches.

    Rows are drawn on the device. There are two graphs: one of the value gradients and the bootstrap, one of an
    epoch.
    """
    with env.home():
        model = Ensemble(data.ensemble_parameters(TARGETS), form, gaussian=False)
        critics, actor = torch_peer.value_heads()
        rows = {name: torch.tensor(values) for name, values in data.replay().items()}
        weights = torch.empty(REPLAY, OBS)
        bootstrap = torch.empty(MEMBERS, REPLAY, dtype=torch.int64)
    opt, inputs, targets = model_adam(model, env.adam), rows["inputs"], rows["targets"]

    def of_rows(index: Tensor) -> Tensor:
        return model.weighted_loss(inputs[index], targets[index], weights[index])

    loss = env.compiled(way, of_rows, [inputs, targets, weights])

    def begin() -> None:
        weights.copy_(value_weights(critics, actor, rows["next_obs"], chunk=REPLAY))
        bootstrap.random_(0, REPLAY)

    def batch(index: Tensor) -> None:
        opt.zero_grad(set_to_none=True)
        loss(index).backward()
        opt.step()

    def epoch() -> None:
        order = torch.randperm(REPLAY, device=bootstrap.device)[: STEPS_AN_EPOCH * ROWS]
        # [E, N] -> [steps, E, B], as in `data.epoch_rows`.
        for index in bootstrap[:, order].view(MEMBERS, STEPS_AN_EPOCH, ROWS).transpose(0, 1).contiguous():
            if way.mode == "reduce-overhead" and env.gpu:
                torch.compiler.cudagraph_mark_step_begin()
            batch(index)

    begin()
    everything = torch.arange(REPLAY, device=bootstrap.device).expand(MEMBERS, -1)
    value = valued(lambda: of_rows(everything))
    first = value()
    start, one = env.graphed(way, begin), env.graphed(way, epoch, warm_up=1)

    def call() -> None:
        start()
        for _ in range(env.sizes.epochs):
            one()
        env.wait()

    runner = Checked(call, env.sizes.epochs * STEPS_AN_EPOCH, FLOPS["vagram_step"])
    runner.check = lambda: trains(runner, counted(opt), value, first)
    return runner


def sac_losses(env: Env, way: Way, form: str) -> Checked:
    """Updates on one batch, with each loss as a separate function."""
    with env.home():
        agent = Sac(data.actor_parameters(), data.critic_parameters(), form, env.adam)
        batch, *noises = torch_peer.agent_batch()
    static = [*batch.values(), *noises]
    agent.critic_loss = env.compiled(way, agent._critic_loss, static)
    agent.actor_loss = env.compiled(way, agent._actor_loss, static)
    step = env.graphed(way, lambda: agent.update(batch, *noises))
    runner = Checked(env.repeated(way, step, STEPS), STEPS, FLOPS["sac_update"])
    runner.check = lambda: updates(runner, counted(agent.critic_adam), agent.log_temperature.item)
    return runner


def sac_whole(env: Env, way: Way, form: str) -> Checked:
    """Updates on one batch, each one compiled function that overwrites its state."""
    with env.home():
        agent = WholeUpdate(Sac(data.actor_parameters(), data.critic_parameters(), form), compiled=False)
        batch, *noises = torch_peer.agent_batch()
    static = [*batch.values(), *noises, *(tensor for part in parts(agent.state()) for tensor in part.values())]
    update = env.compiled(way, agent.update_in_place, static)
    step = env.graphed(way, lambda: update(batch, *noises))
    runner = Checked(env.repeated(way, step, STEPS), STEPS, FLOPS["sac_update"])
    runner.check = lambda: updates(runner, lambda: int(agent.t), agent.temperature["log"].item)
    return runner


def rollout(env: Env, workload: str, way: Way, form: str) -> Checked:
    """Rollouts from fixed starts, all rows together.

    Compiled steps draw their normals and write their transitions themselves. Steps in the mode `reduce-overhead`
    return them to be copied, because its graphs may overwrite no inputs except parameters.
    """
    rows, horizon = size = env.sizes.rollouts[workload]
    with env.home():
        world = torch_rollout.World(form, inplace=way.mode is None)
        starts = torch.tensor(data.starts(quota(rows, None)))
    kept = torch_rollout.empty(starts, horizon)

    if way.mode in (None, "reduce-overhead"):
        imagine = env.compiled(way, world, [])

        def go() -> None:
            torch_rollout.roll(imagine, starts, torch_rollout.shuffled, kept, None)
    else:
        step = env.compiled(way, torch_rollout.step_into, [])

        def go() -> None:
            obs = starts
            for fields in kept:
                step(world, obs, torch_rollout.order_of(obs), fields)
                obs = fields["next_obs"]

    go = torch.no_grad()(go)
    runner = Checked(env.repeated(way, env.graphed(way, go), 1), **rollout_numbers(size))

    def sums() -> list[tuple[float, float]]:
        ends = [starts, *(fields["next_obs"] for fields in kept)]
        begins = [*(fields["obs"] for fields in kept), ends[-1]]
        return [(begin.double().sum().item(), end.double().sum().item()) for begin, end in zip(begins, ends)]

    def check() -> dict:
        runner.call()
        before = kept[-1]["next_obs"].clone()
        notes = follows(sums, runner)
        if bool((kept[-1]["next_obs"] == before).all()):
            raise Wrong("two rollouts ended at the same states, so they used the same random draws")
        return notes

    runner.check = check
    return runner


def launch(env: Env, way: Way, replays: bool) -> Checked:
    """Tiny kernels, one after another; `replays` are graphs of one kernel each."""
    launches = env.sizes.launches
    x = torch.zeros(1, device=env.device)

    def add() -> None:
        x.add_(1)

    def adds() -> None:
        for _ in range(launches):
            add()

    if replays:
        call = env.repeated(way, env.graphed(way, add), launches)
    else:
        call = env.repeated(way, env.graphed(way, adds, warm_up=1), 1)

    def check() -> dict:
        before = x.item()
        call()
        if x.item() - before != launches:
            raise Wrong(f"a call launched {x.item() - before} kernels instead of {launches}")
        return {}

    return Checked(call, launches, check=check)


def offers(env: Env) -> list[tuple[int, Job, Callable[[], Checked]]]:
    """Returns all jobs with their ranks."""
    found: list[tuple[int, Job, Callable[[], Checked]]] = []

    def offer(rank: int, workload: str, variant: str, precision: str, build: Callable[[], Checked]) -> None:
        found.append((rank, (workload, variant, precision), build))

    for precision in (*PRECISIONS, "bf16"):
        for n in env.sizes.gemm:
            offer(0, "sgemm", f"n = {n}", precision, partial(gemm, env, n, precision))
    graph, count = Way(graph=True), env.sizes.launches
    offer(0, "launch", "eager", NO_PRODUCTS, partial(launch, env, Way(), False))
    offer(0, "launch", f"graph of {count} kernels", NO_PRODUCTS, partial(launch, env, graph, False))
    offer(0, "launch", "graph of one kernel, replayed", NO_PRODUCTS, partial(launch, env, graph, True))

    def both(workload: str, layouts: dict[str, str], build: Callable, ending: str = "") -> None:
        likely = next(iter(layouts))
        for (name, first), rank in RANKS.items():
            for layout, form in layouts.items():
                if first == (layout == likely):
                    for precision in PRECISIONS:
                        variant = f"{name}, {layout}{ending}"
                        offer(rank, workload, variant, precision, partial(build, env, WAYS[name], form))

    critics = {form: form for form in CRITICS}
    both("model_step", LAYOUTS, model_step)
    both("sac_update", critics, sac_losses, " critics")
    both("vagram_step", LAYOUTS, vagram_step)
    for workload in env.sizes.rollouts:
        both(workload, LAYOUTS, lambda env, way, form, workload=workload: rollout(env, workload, way, form))
    for precision in PRECISIONS:
        for rank, name, forms in (
            (2, "graph, compile", CRITICS),
            (6, "compile, reduce-overhead", CRITICS[:1]),
            (6, "compile", CRITICS[:1]),
        ):
            for form in forms:
                variant = f"{name} whole, {form} critics"
                offer(rank, "sac_update", variant, precision, partial(sac_whole, env, WAYS[name], form))
    return found


def probe(env: Env) -> None:
    """Raises an error if the device no longer computes anything, or if a capture was left open."""
    if env.gpu and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("a CUDA graph capture was not closed")
    # The draw fails if a failed capture has not released the generator.
    torch.rand(1, device=env.device).item()
    if (torch.ones(8, device=env.device) + 1).sum().item() != 16:
        raise RuntimeError("the device returned a wrong sum")


def release(env: Env) -> None:
    """Frees unused memory."""
    gc.collect()
    if env.gpu:
        torch.cuda.empty_cache()


def program(args: argparse.Namespace) -> Program:
    """Returns PyTorch's jobs on the device."""
    if args.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            f"torch {torch.__version__} sees no GPU (built for CUDA {torch.version.cuda}): "
            "install a build for the driver's version of CUDA"
        )
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    env = Env(args.device, SMALL if args.small else FULL)
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = None
    about = {"torch": torch.__version__, "triton": triton, "numpy": np.__version__, "python": platform.python_version()}
    if env.gpu:
        about |= {"card": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return Program(
        "torch",
        torch.__version__,
        about,
        ranked(offers(env)),
        # `graph, compile` has already compiled everything that `compile` needs.
        lambda job: any(name in job[1] for name in ("graph, compile", "reduce-overhead", "max-autotune")),
        lambda precision: torch.set_float32_matmul_precision(MATMUL[precision]),
        partial(probe, env),
        partial(release, env),
    )


if __name__ == "__main__":
    gpu_worker.main("torch", ARGUMENTS, program)
