"""The rollouts' part of `check.py`: one step with given normals in both programs, whole rollouts, and the draws."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

import data
import jax_rollout as on_jax
import torch_rollout as on_torch
from common import ACT, MEMBERS, OBS, TARGETS

#: Number of rows per member.
ROWS = 40
HORIZON = 3
SHUFFLES = 2000

Numbers = dict[str, np.ndarray]


def torch_step(form: str, inplace: bool, obs: np.ndarray, noise: np.ndarray) -> Numbers:
    """Returns one step's transitions."""
    with torch.no_grad():
        parts = on_torch.World(form, inplace)(torch.tensor(obs), torch.tensor(noise))
    action, reward, next_obs = (part.numpy() for part in parts)
    return {"obs": obs, "action": action, "reward": reward[..., 0], "next_obs": next_obs}


def jax_step(layout: Callable, tile: int | None, obs: np.ndarray, noise: np.ndarray) -> Numbers:
    """Returns one step's transitions."""
    rows = jnp.array(obs), jnp.array(noise)
    world = on_jax.world(layout)
    return jax.tree.map(np.asarray, on_jax.in_tiles(world, *rows, tile) if tile else on_jax.imagine(world, *rows))


def torch_roll(tile: int) -> list[Numbers]:
    """Makes a whole rollout, step by step."""
    starts = torch.tensor(data.starts(ROWS))
    kept = on_torch.empty(starts, HORIZON)
    with torch.no_grad():
        on_torch.roll(on_torch.World("addmm"), starts, on_torch.shuffled, kept, tile)
    return [{name: rows.numpy() for name, rows in fields.items()} for fields in kept]


def torch_steps_into() -> tuple[Numbers, Numbers]:
    """Returns the last transitions of two rollouts with equal draws: one function per step, and `roll`."""
    starts, world = torch.tensor(data.starts(ROWS)), on_torch.World("linear")
    one, other = on_torch.empty(starts, HORIZON), on_torch.empty(starts, HORIZON)
    with torch.no_grad():
        torch.manual_seed(0)
        obs = starts
        for fields in one:
            on_torch.step_into(world, obs, on_torch.order_of(obs), fields)
            obs = fields["next_obs"]
        torch.manual_seed(0)
        on_torch.roll(world, starts, on_torch.shuffled, other, None)
    last, of_roll = ({name: rows.numpy() for name, rows in kept[-1].items()} for kept in (one, other))
    return last, of_roll


def jax_roll(layout: Callable, tile: int) -> list[Numbers]:
    """Makes a whole rollout, step by step."""
    starts, key = jnp.array(data.starts(ROWS)), jax.random.key(1)
    kept = on_jax.roll(on_jax.world(layout), starts, key, horizon=HORIZON, assign=on_jax.shuffled, tile=tile)
    return [{name: np.asarray(rows[h]) for name, rows in kept.items()} for h in range(HORIZON)]


def ordered(rows: np.ndarray) -> np.ndarray:
    """Sorts the rows of all members, so that their original order does not matter."""
    flat = rows.reshape(-1, OBS)
    return flat[np.argsort(flat[:, 0])]


def steps(layouts: dict[str, Callable], compare: Callable) -> None:
    """Compares both programs' steps, and checks that a rollout's steps continue each other."""
    obs, noise = data.starts(ROWS), data.normals("noise", MEMBERS, ROWS, ACT + TARGETS)
    for name, layout in layouts.items():
        for tile in (None, ROWS // 4):
            reference = jax_step(layout, tile, obs, noise)
            for form in ("baddbmm", "addmm", "linear"):
                what = f"rollout: torch {form}, jax {name}{' in tiles' if tile else ''}"
                compare(what, torch_step(form, tile is None, obs, noise), reference)
    compare("rollout: torch, steps as one function", *torch_steps_into())
    rolls = {"torch": torch_roll(ROWS // 4), "jax": jax_roll(next(iter(layouts.values())), ROWS // 4)}
    for program, kept in rolls.items():
        before = [data.starts(ROWS), *(step["next_obs"] for step in kept)]
        for h, step in enumerate(kept):
            follows = {"rows": ordered(step["obs"])}, {"rows": ordered(before[h])}
            compare(f"rollout: {program}, step {h} starts where it should", *follows)


def draws() -> list[str]:
    """Returns the failed checks of the draws of members and of the normals, with bounds of five standard deviations."""
    failures = []

    def check(what: str, z: float) -> None:
        fine = z < 5
        print(f"{'ok  ' if fine else 'FAIL'} {what:<58} {z:.1f} deviations")
        if not fine:
            failures.append(what)

    rows = np.arange(MEMBERS * 5, dtype=np.float64).reshape(MEMBERS, 5, 1)
    keys = jax.random.split(jax.random.key(2), SHUFFLES)
    of_jax = np.asarray(jax.vmap(lambda key: on_jax.shuffled(key, jnp.array(rows)))(keys))
    of_torch = np.stack([on_torch.shuffled(torch.tensor(rows)).numpy() for _ in range(SHUFFLES)])
    for program, orders in {"jax": of_jax, "torch": of_torch}.items():
        flat = orders.reshape(SHUFFLES, -1).astype(int)
        assert (np.sort(flat) == np.arange(rows.size)).all(), f"{program}: rows lost in a shuffle"
        # The row that each member takes, in every shuffle, `[S, rows]`.
        member = np.argsort(flat) // 5
        share = np.stack([(member == e).mean(0) for e in range(MEMBERS)])
        again = (member[1:] == member[:-1]).mean()
        p = 1 / MEMBERS
        variance = p * (1 - p)
        check(f"rollout: {program}, every row has every member", np.abs(share - p).max() / (variance / SHUFFLES) ** 0.5)
        check(f"rollout: {program}, afresh", abs(again - p) / (variance / member[1:].size) ** 0.5)

    count = 1_000_000
    z = np.asarray(on_jax.normals(jax.random.key(3), (count,))).astype(np.float64)
    # Moments of a standard normal, and the standard deviations of their estimates.
    moments = {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}
    worst = max(abs((z**k).mean() - mean) / (variance / count) ** 0.5 for k, (mean, variance) in moments.items())
    check("rollout: jax's normals, four moments", worst)
    pairs = z[: count // 2] * z[count // 2 :]
    check("rollout: jax's normals, pairs", abs(pairs.mean()) * len(pairs) ** 0.5)
    check("rollout: jax's normals, squares of pairs", abs((pairs**2).mean() - 1) / (8 / len(pairs)) ** 0.5)
    return failures
