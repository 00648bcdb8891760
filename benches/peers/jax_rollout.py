"""JAX's imagined rollouts: a compiled loop over steps, with rows ordered by member.

Every step shuffles the rows, so that each row gets a new member. Transitions are kept in that order and need not be
sorted back. Rows are `[E, Q, ·]`, where the first axis is the member that predicts them.
"""

from collections.abc import Callable
from functools import partial
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import data
from common import ACT, FIXED, LOG_STD_BOUNDS, LOGVAR_BOUNDS, MEMBERS, ROLLOUTS, TARGETS, TILE, Runner, quota
from jax_nets import Tree, outputs, perceptron, separate


def world(layout: Callable) -> Tree:
    """Returns all inputs of a rollout."""
    mean, std = data.normalizer()
    low, high = (np.full(TARGETS, bound, data.DTYPE) for bound in LOGVAR_BOUNDS)
    parts = {"mean": mean, "std": std, "min_logvar": low, "max_logvar": high}
    nets = {"actor": separate(data.actor_parameters())[0], "net": layout(data.ensemble_parameters(2 * TARGETS))}
    return jax.tree.map(jnp.array, parts) | nets


def imagine(world: Tree, obs: jax.Array, noise: jax.Array) -> Tree:
    """Makes one step of rows `[E, Q, O]` with normals `[E, Q, A + O + 1]`, of which the action's are first."""
    mean, raw = jnp.split(perceptron(world["actor"], obs), 2, -1)
    low, high = LOG_STD_BOUNDS
    log_std = low + 0.5 * (high - low) * (jnp.tanh(raw) + 1)
    action = jnp.tanh(mean + jnp.exp(log_std) * noise[..., :ACT])

    x = (jnp.concatenate([obs, action], -1) - world["mean"]) / world["std"]
    mean, logvar = jnp.split(outputs(world["net"], x, jax.nn.silu), 2, -1)
    low, high, softplus = world["min_logvar"], world["max_logvar"], jax.nn.softplus
    logvar = high - softplus(high - logvar)
    logvar = low + softplus(logvar - low)
    change = mean + jnp.exp(0.5 * logvar) * noise[..., ACT:]
    return {"obs": obs, "action": action, "reward": change[..., -1], "next_obs": obs + change[..., :-1]}


def normals(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normals by Box and Muller, faster on the CPU than the inverse error function of `jax.random.normal`."""
    count = int(np.prod(shape))
    bits = jax.random.bits(key, (2, -(-count // 2)), jnp.uint32)
    u, v = lax.bitcast_convert_type(bits >> 9 | np.uint32(0x3F800000), jnp.float32)
    radius, angle = jnp.sqrt(-2 * jnp.log(2 - u)), 2 * np.float32(np.pi) * v
    pairs = jnp.concatenate([radius * jnp.cos(angle), radius * jnp.sin(angle)])
    return pairs[:count].reshape(shape)


#: All orders of the members, `[E!, E]`.
ORDERS = np.array(list(permutations(range(MEMBERS))), np.int32)


def shuffled(key: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns `[E, Q, O]` with the members of every column in a random order: each row's member is uniform and drawn
    anew.

    Columns are independent. A permutation of all rows would need a sort, which the CPU does on one core.
    """
    orders = jnp.array(ORDERS)[jax.random.randint(key, rows.shape[1:2], 0, len(ORDERS))]
    return jnp.take_along_axis(rows, orders.T[..., None], 0)


def fixed(_: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns the rows unchanged, so that every row keeps its member."""
    return rows


def in_tiles(world: Tree, obs: jax.Array, noise: jax.Array, tile: int) -> Tree:
    """Applies `imagine` to one tile of every member's rows after another."""

    def split(rows: jax.Array) -> jax.Array:
        return rows.reshape(MEMBERS, -1, tile, rows.shape[-1]).swapaxes(0, 1)

    steps = lax.map(lambda rows: imagine(world, *rows), (split(obs), split(noise)))
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(*obs.shape[:2], *x.shape[3:]), steps)


def roll(
    world: Tree,
    starts: jax.Array,
    key: jax.Array,
    *,
    horizon: int,
    assign: Callable,
    tile: int | None,
    draw: Callable = normals,
    unroll: int = 1,
) -> Tree:
    """Returns all transitions, `[H, E, Q, ·]`, with normals from `draw`."""
    step = partial(in_tiles, tile=tile) if tile else imagine

    def body(obs: jax.Array, key: jax.Array) -> tuple[jax.Array, Tree]:
        order, key = jax.random.split(key)
        obs = assign(order, obs)
        transitions = step(world, obs, draw(key, (*obs.shape[:2], ACT + TARGETS)))
        return transitions["next_obs"], transitions

    return lax.scan(body, starts, jax.random.split(key, horizon), unroll=unroll)[1]


def rollout(workload: str, layout: Callable, assign: Callable, tile: int | None) -> Runner:
    """Rollouts from the same starts."""
    rows, horizon = ROLLOUTS[workload]
    starts, with_what, key = jnp.array(data.starts(quota(rows, tile))), world(layout), jax.random.key(0)
    run = jax.jit(partial(roll, horizon=horizon, assign=assign, tile=tile))
    return Runner(lambda: jax.block_until_ready(run(with_what, starts, key)))


def variants(workload: str, layouts: dict[str, Callable]) -> dict[str, Callable[[], Runner]]:
    """Returns all variants of a rollout."""
    ways = {
        "scan": (shuffled, None),
        f"scan, tiles of {TILE}": (shuffled, TILE),
        f"scan, {FIXED}": (fixed, None),
        f"scan, tiles of {TILE}, {FIXED}": (fixed, TILE),
    }
    return {
        f"{way}, {name}": partial(rollout, workload, layout, assign, tile)
        for way, (assign, tile) in ways.items()
        for name, layout in layouts.items()
    }
