"""JAX's worker of `gpu.py`: the fixed workloads on one GPU.

| way | how steps are run |
|---|---|
| `jit` | one compiled step with donated state, dispatched ahead of its completion |
| `scan` | many steps in one compiled loop that gathers its own batches; `unrolled` by several steps a pass |
| `scan of a call` | a whole training call of `vagram_step` as one program: value gradients, order of the rows, epochs |

Normals are `jax.random.normal`, and all rows and orders are drawn on the device.
"""

import os

import gpu_worker

if __name__ == "__main__":
    ARGUMENTS = gpu_worker.arguments(__doc__)
    # Named explicitly, so that JAX does not silently fall back to the CPU.
    os.environ["JAX_PLATFORMS"] = ARGUMENTS.device
    if ARGUMENTS.threads:
        import common

        common.set_threads(ARGUMENTS.threads)
    if ARGUMENTS.threads == 1 and ARGUMENTS.device == "cpu":
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

import argparse
import gc
import importlib.metadata
import platform
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import data
import jax_peer
import jax_rollout
from common import FLOPS, MEMBERS, REPLAY, ROWS, STEPS_AN_EPOCH, TARGETS, Runner, quota
from gpu_worker import (
    COLUMNS, FULL, NO_PRODUCTS, PRECISIONS, SMALL, Checked, Job, Program, Sizes, Wrong, follows, precise, ranked,
    rollout_numbers, trains, updates,
)  # fmt: skip
from jax_nets import Tree, batched, separate
from jax_peer import SCAN

LAYOUTS = {"batched": batched, "7 dots": separate}
CRITICS = {"stacked critics": batched, "separate critics": separate}
#: Precisions of products: JAX's own default on a GPU is TF32 too.
MATMUL = {"f32": "highest", "tf32": "tensorfloat32", "bf16": "default", NO_PRODUCTS: "highest"}
#: Numbers of steps per pass of unrolled loops; they divide a call's number of steps.
UNROLL, UNROLL_EPOCH = 5, 3


def gemm(sizes: Sizes, n: int, precision: str) -> Checked:
    """Square products, dispatched one after another."""
    steps, kind = sizes.gemm[n], jnp.bfloat16 if precision == "bf16" else jnp.float32
    a, b = (jax.random.normal(key, (n, n), jnp.float32).astype(kind) for key in jax.random.split(jax.random.key(0)))
    product = jax.jit(jnp.matmul)

    def call() -> None:
        for _ in range(steps):
            out = product(a, b)
        out.block_until_ready()

    def check() -> dict:
        first, columns = (np.asarray(part.astype(jnp.float32), np.float64) for part in (a[0], b[:, :COLUMNS]))
        got = np.asarray(product(a, b)[0, :COLUMNS].astype(jnp.float32), np.float64)
        exact = first @ columns
        return precise(precision, float(np.linalg.norm(got - exact) / np.linalg.norm(exact)))

    return Checked(call, steps, flops=2 * n**3, check=check)


def launch(sizes: Sizes) -> Checked:
    """Tiny programs, dispatched one after another."""
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    held = [jnp.zeros(1)]

    def call() -> None:
        x = held[0]
        for _ in range(sizes.launches):
            x = add(x)
        held[0] = x.block_until_ready()

    def check() -> dict:
        before = float(held[0][0])
        call()
        made = float(held[0][0]) - before
        if made != sizes.launches:
            raise Wrong(f"a call launched {made} programs instead of {sizes.launches}")
        return {}

    return Checked(call, sizes.launches, check=check)


def adam_steps(state: Tree) -> int:
    """Returns the number of steps that the first Adam in a state has made."""

    def is_adam(part: Tree) -> bool:
        return isinstance(part, optax.ScaleByAdamState)

    return int(next(part for part in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(part)).count)


def with_check(runner: Runner, workload: str, loss: Callable[[Tree], jax.Array], parameters: Callable) -> Checked:
    """Returns gradient steps that are checked by a loss; `parameters` returns the model's from the runner's state."""
    assert runner.state is not None
    state, value = runner.state, jax.jit(loss)

    def now() -> float:
        return float(value(parameters(state())))

    first = now()
    found = Checked(runner.call, runner.steps, FLOPS[workload], state)
    found.check = lambda: trains(found, lambda: adam_steps(state()), now, first)
    return found


def model_step(build: Callable[[], Runner]) -> Checked:
    """Gradient steps on one batch, or on rows of the replay; both are checked by the loss on the one batch."""
    x, y = map(jnp.array, data.model_batch())
    return with_check(build(), "model_step", lambda p: jax_peer.likelihood_loss(p, x, y), lambda carry: carry[0])


def sac_update(build: Callable[[], Runner]) -> Checked:
    """Updates on one batch, or on rows of a replay."""
    runner = build()
    assert runner.state is not None
    state = runner.state
    found = Checked(runner.call, runner.steps, FLOPS["sac_update"], state)
    found.check = lambda: updates(found, lambda: adam_steps(state()), lambda: float(state()["log_temperature"]))
    return found


def vagram_step(sizes: Sizes, way: str, layout: Callable, unroll: int = 1) -> Checked:
    """Whole training calls: the value gradients of all replay rows once, then epochs of gathered batches.

    `way` is the part that is one program: a `step`, an `epoch`, or the `call`. The state is the model's carry and a
    key.
    """
    rows = {name: jnp.array(values) for name, values in data.replay().items()}
    heads = jax_peer.value_heads()

    def prepare(key: jax.Array, heads: Tree, rows: Tree) -> tuple[jax.Array, jax.Array, jax.Array]:
        key, own = jax.random.split(key)
        bootstrap = jax.random.randint(own, (MEMBERS, REPLAY), 0, REPLAY)
        return key, bootstrap, jax_peer.value_weights(*heads, rows["next_obs"])

    def order(key: jax.Array, bootstrap: jax.Array) -> tuple[jax.Array, jax.Array]:
        key, own = jax.random.split(key)
        drawn = jax.random.permutation(own, REPLAY)[: STEPS_AN_EPOCH * ROWS]
        # [E, N] -> [steps, E, B], as in `data.epoch_rows`.
        return key, bootstrap[:, drawn].reshape(MEMBERS, STEPS_AN_EPOCH, ROWS).swapaxes(0, 1)

    def step(carry: Tree, index: jax.Array, rows: Tree, weights: jax.Array) -> Tree:
        batch = rows["inputs"][index], rows["targets"][index], weights[index]
        return jax_peer.model_update(jax_peer.weighted_loss, carry, *batch)[0]

    def epoch(carry: Tree, key: jax.Array, bootstrap: jax.Array, rows: Tree, weights: jax.Array) -> tuple:
        key, index = order(key, bootstrap)

        def body(carry: Tree, index: jax.Array) -> tuple[Tree, None]:
            return step(carry, index, rows, weights), None

        return lax.scan(body, carry, index, unroll=unroll)[0], key

    def whole(carry: Tree, key: jax.Array, heads: Tree, rows: Tree) -> tuple[Tree, jax.Array]:
        key, bootstrap, weights = prepare(key, heads, rows)

        def body(state: Tree, _: None) -> tuple[Tree, None]:
            return epoch(*state, bootstrap, rows, weights), None

        return lax.scan(body, (carry, key), length=sizes.epochs)[0]

    def nth(carry: Tree, n: jax.Array, index: jax.Array, rows: Tree, weights: jax.Array) -> tuple[Tree, jax.Array]:
        # The counter stays on the device, because a number from the host would be sent at every step.
        return step(carry, index[n], rows, weights), (n + 1) % STEPS_AN_EPOCH

    begin, draw = jax.jit(prepare), jax.jit(order)
    one, many, all_of_it = (jax.jit(f, donate_argnums=0) for f in (nth, epoch, whole))

    def call(state: Tree) -> Tree:
        carry, key = state
        if way == "call":
            return all_of_it(carry, key, heads, rows)
        key, bootstrap, weights = begin(key, heads, rows)
        n = zero
        for _ in range(sizes.epochs):
            if way == "epoch":
                carry, key = many(carry, key, bootstrap, rows, weights)
                continue
            key, index = draw(key, bootstrap)
            for _ in range(STEPS_AN_EPOCH):
                carry, n = one(carry, n, index, rows, weights)
        return carry, key

    zero = jnp.zeros((), jnp.int32)
    carry = jax_peer.fresh(jax_peer.model_parameters(data.ensemble_parameters(TARGETS), layout, gaussian=False))
    runner = jax_peer.repeated(call, (carry, jax.random.key(0)), sizes.epochs * STEPS_AN_EPOCH)
    every = jnp.broadcast_to(jnp.arange(REPLAY), (MEMBERS, REPLAY))
    weights = begin(jax.random.key(0), heads, rows)[2]

    def loss(parameters: Tree) -> jax.Array:
        return jax_peer.weighted_loss(parameters, rows["inputs"][every], rows["targets"][every], weights[every])

    return with_check(runner, "vagram_step", loss, lambda state: state[0][0])


def rollout(size: tuple[int, int], layout: Callable, unroll: int) -> Checked:
    """Rollouts from fixed starts, all rows together."""
    rows, horizon = size
    starts, world, key = jnp.array(data.starts(quota(rows, None))), jax_rollout.world(layout), jax.random.key(0)
    shape = {"horizon": horizon, "assign": jax_rollout.shuffled, "tile": None, "draw": jax.random.normal}
    run = jax.jit(partial(jax_rollout.roll, **shape, unroll=unroll))
    found = Checked(lambda: jax.block_until_ready(run(world, starts, key)), **rollout_numbers(size))

    def sums() -> list[tuple[float, float]]:
        kept = run(world, starts, key)
        begins, ends = (np.asarray(kept[name], np.float64).sum((1, 2, 3)) for name in ("obs", "next_obs"))
        before = [np.asarray(starts, np.float64).sum(), *ends[:-1]]
        return [*zip(map(float, begins), map(float, before)), (float(ends[-1]), float(ends[-1]))]

    found.check = lambda: follows(sums, found)
    return found


def offers(sizes: Sizes) -> list[tuple[int, Job, Callable[[], Checked]]]:
    """Returns all jobs with their ranks."""
    found: list[tuple[int, Job, Callable[[], Checked]]] = []

    def offer(rank: int, workload: str, variant: str, build: Callable[[], Checked]) -> None:
        found.extend((rank, (workload, variant, precision), build) for precision in PRECISIONS)

    for precision in (*PRECISIONS, "bf16"):
        for n in sizes.gemm:
            found.append((0, ("sgemm", f"n = {n}", precision), partial(gemm, sizes, n, precision)))
    found.append((0, ("launch", "jit", NO_PRODUCTS), partial(launch, sizes)))

    for workload, wrap, jit, scan, layouts in (
        ("model_step", model_step, jax_peer.model_jit, jax_peer.model_scan, LAYOUTS),
        ("sac_update", sac_update, jax_peer.sac_jit, jax_peer.sac_scan, CRITICS),
    ):
        # The first layout is probably the faster one.
        for later, (name, layout) in enumerate(layouts.items()):
            offer(0 + 2 * later, workload, f"scan of {SCAN}, {name}", partial(wrap, partial(scan, layout)))
            offer(1 + 2 * later, workload, f"jit, {name}", partial(wrap, partial(jit, layout)))
            unrolled = partial(wrap, partial(scan, layout, UNROLL))
            offer(2 + 2 * later, workload, f"scan of {SCAN}, unrolled by {UNROLL}, {name}", unrolled)
    for later, (name, layout) in enumerate(LAYOUTS.items()):
        build = partial(vagram_step, sizes, layout=layout)
        offer(0 + 2 * later, "vagram_step", f"scan of an epoch, {name}", partial(build, way="epoch"))
        offer(1 + 2 * later, "vagram_step", f"scan of a call, {name}", partial(build, way="call"))
        offer(3 + 2 * later, "vagram_step", f"jit, {name}", partial(build, way="step"))
        unrolled = partial(build, way="epoch", unroll=UNROLL_EPOCH)
        offer(2 + 2 * later, "vagram_step", f"scan of an epoch, unrolled by {UNROLL_EPOCH}, {name}", unrolled)
        for workload, size in sizes.rollouts.items():
            offer(0 + 2 * later, workload, f"scan, {name}", partial(rollout, size, layout, 1))
            offer(1 + 2 * later, workload, f"scan, unrolled, {name}", partial(rollout, size, layout, size[1]))
    return found


def probe() -> None:
    """Raises an error if the device no longer computes anything."""
    if float((jnp.ones(8) + 1).sum()) != 16:
        raise RuntimeError("the device returned a wrong sum")


def version_of(package: str) -> str | None:
    """Returns an installed package's version."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def program(args: argparse.Namespace) -> Program:
    """Returns JAX's jobs on the device."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "optax", "numpy")
    about = {name: version for name in packages if (version := version_of(name))}
    about |= {"python": platform.python_version(), "cuda": " ".join(device.client.platform_version.split())}
    if args.device == "cuda":
        about["card"] = device.device_kind
    about["default precision of products"] = "tf32 on this kind of card" if args.device == "cuda" else "f32"
    return Program(
        "jax",
        jax.__version__,
        about,
        ranked(offers(SMALL if args.small else FULL)),
        lambda _: True,
        lambda precision: jax.config.update("jax_default_matmul_precision", MATMUL[precision]),
        probe,
        gc.collect,
    )


if __name__ == "__main__":
    gpu_worker.main("jax", ARGUMENTS, program)
