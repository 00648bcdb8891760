"""PyTorch's imagined rollouts, with rows ordered by member; the transitions of every step are kept.

Every step puts the rows in a random order, so that each row gets a new member. Transitions are kept in that order
and need not be sorted back. Rows are `[E, Q, ·]`, where the first axis is the member that predicts them.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import data
from common import ACT, FIXED, LOG_STD_BOUNDS, OBS, ROLLOUTS, TARGETS, TILE, Runner, quota
from torch_nets import Actor, Ensemble

#: Names and widths of the stored fields of a transition.
FIELDS = {"obs": OBS, "action": ACT, "reward": 1, "next_obs": OBS}


class World(nn.Module):
    """All inputs of a rollout."""

    def __init__(self, form: str, inplace: bool = False) -> None:
        super().__init__()
        self.ensemble = Ensemble(data.ensemble_parameters(2 * TARGETS), form, inplace=inplace)
        self.actor = Actor(data.actor_parameters())
        self.mean, self.std = map(torch.tensor, data.normalizer())
        self.requires_grad_(False)

    def forward(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns action, reward and next state of rows `[E, Q, O]` with normals `[E, Q, A + O + 1]`, of which the
        action's are first.
        """
        mean, raw = self.actor.net(obs.flatten(0, 1)).unflatten(0, obs.shape[:2]).chunk(2, -1)
        low, high = LOG_STD_BOUNDS
        log_std = low + 0.5 * (high - low) * (torch.tanh(raw) + 1)
        action = torch.tanh(mean + log_std.exp() * noise[..., :ACT])

        x = (torch.cat([obs, action], -1) - self.mean) / self.std
        mean, logvar = self.ensemble.bounded(self.ensemble(x))
        change = mean + torch.exp(0.5 * logvar) * noise[..., ACT:]
        return action, change[..., -1:], obs + change[..., :-1]


def order_of(rows: Tensor) -> Tensor:
    """Returns a random order of all rows `[E, Q, O]`, on their device."""
    return torch.randperm(rows.shape[0] * rows.shape[1], device=rows.device)


def shuffled(rows: Tensor) -> Tensor:
    """Returns `[E, Q, O]` in a random order of all rows: each row's member is uniform and drawn anew."""
    return reordered(rows, order_of(rows))


def reordered(rows: Tensor, order: Tensor) -> Tensor:
    """Returns `[E, Q, O]` in the given order of all rows."""
    return rows.flatten(0, 1).index_select(0, order).view_as(rows)


def fixed(rows: Tensor) -> Tensor:
    """Returns the rows unchanged, so that every row keeps its member."""
    return rows


def normals(obs: Tensor, rows: int) -> Tensor:
    """Returns the normals of a step for `rows` rows of every member, `[E, rows, A + O + 1]`, on the states' device."""
    return torch.randn(len(obs), rows, ACT + TARGETS, dtype=obs.dtype, device=obs.device)


def roll(imagine: Callable, starts: Tensor, assign: Callable, kept: list[dict[str, Tensor]], tile: int | None) -> None:
    """Writes the transitions of every step, `[E, Q, ·]` per field, one tile of every member's rows at a time."""
    obs, rows = starts, starts.shape[1]
    tile = tile or rows
    for fields in kept:
        obs = fields["obs"].copy_(assign(obs))
        for at in (slice(first, first + tile) for first in range(0, rows, tile)):
            noise = normals(obs, tile)
            action, reward, next_obs = imagine(obs[:, at].contiguous(), noise)
            fields["action"][:, at], fields["reward"][:, at], fields["next_obs"][:, at] = action, reward, next_obs
        obs = fields["next_obs"]


def step_into(world: Callable, obs: Tensor, order: Tensor, fields: dict[str, Tensor]) -> None:
    """Makes one step of all rows in the given order, with its normals, and writes it to `fields`: a step of `roll` to
    compile.

    The order is an argument, because torch.compile (2.11) fails on a whole `torch.randperm` that is used to index
    rows.
    """
    obs = reordered(obs, order)
    parts = obs, *world(obs, normals(obs, obs.shape[1]))
    for name, rows in zip(FIELDS, parts, strict=True):
        fields[name].copy_(rows)


def empty(starts: Tensor, horizon: int) -> list[dict[str, Tensor]]:
    """Returns empty fields for a rollout's transitions."""
    sizes = {name: (*starts.shape[:2], width) for name, width in FIELDS.items()}
    return [{name: starts.new_empty(size) for name, size in sizes.items()} for _ in range(horizon)]


def rollout(workload: str, compiled: bool, form: str, assign: Callable, tile: int | None) -> Runner:
    """Rollouts from the same starts."""
    rows, horizon = ROLLOUTS[workload]
    world = World(form, inplace=not compiled)
    imagine = torch.compile(world, dynamic=False) if compiled else world
    starts = torch.tensor(data.starts(quota(rows, tile)))
    kept = empty(starts, horizon)

    @torch.no_grad()
    def call() -> None:
        roll(imagine, starts, assign, kept, tile)

    return Runner(call)


def variants(workload: str) -> dict[str, Callable[[], Runner]]:
    """Returns all variants of a rollout."""
    ways = {"": (shuffled, None), f", tiles of {TILE}": (shuffled, TILE), f", {FIXED}": (fixed, None)}
    return {
        f"{way}, {name}{ending}": partial(rollout, workload, compiled, form, assign, tile)
        for ending, (assign, tile) in ways.items()
        for way, compiled in {"eager": False, "compile": True}.items()
        for name, form in {"7 × addmm": "addmm", "baddbmm": "baddbmm"}.items()
    }
