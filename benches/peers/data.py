"""The data and initial weights of the workloads as numpy arrays. All programs start from these numbers.

Axis letters: `E` ensemble member, `B` batch row, `N` replay row, `O` observation, `A` action.
"""

import zlib

import numpy as np

from common import (
    ACT, AGENT_HIDDEN, BLOCKS, CRITICS, HIDDEN, HORIZON, INPUTS, LOGVAR_BOUNDS, MEMBERS, OBS, POOL, REPLAY, ROWS,
    STEPS_AN_EPOCH, TARGET_CRITICS, TARGETS,
)  # fmt: skip

#: Type of all arrays. `check.py` compares in double precision, where rounding flips no sign of a small gradient.
DTYPE: type = np.float32

#: Weights `[E, I, O]` and biases `[E, 1, O]`, layer by layer.
Layers = tuple[list[np.ndarray], list[np.ndarray]]


def generator(name: str) -> np.random.Generator:
    """Returns a separate random generator for every name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normals(name: str, *shape: int) -> np.ndarray:
    """Standard normals."""
    return generator(name).standard_normal(shape, dtype=np.float32).astype(DTYPE, copy=False)


def ensemble_parameters(outputs: int, name: str = "ensemble") -> Layers:
    """Weights `[E, I, O]` with deviation 1 / (2 sqrt(I)) and biases `[E, 1, O]`, layer by layer."""
    return stacked_parameters([INPUTS, *HIDDEN, outputs], MEMBERS, name, gain=0.5)


def stacked_parameters(sizes: list[int], members: int, name: str, gain: float = 1.0) -> Layers:
    """Weights `[E, I, O]` with deviation gain / sqrt(I) and zero biases `[E, 1, O]`, layer by layer."""
    layers = list(enumerate(zip(sizes, sizes[1:])))
    weights = [normals(f"{name}/{n}", members, i, o) * DTYPE(gain / np.sqrt(i)) for n, (i, o) in layers]
    return weights, [np.zeros((members, 1, o), DTYPE) for _, (_, o) in layers]


def actor_parameters() -> Layers:
    """The actor, mean and log-deviation, as one member."""
    return stacked_parameters([OBS, *AGENT_HIDDEN, 2 * ACT], 1, "actor")


def critic_parameters(name: str = "critic", heads: int = 2) -> Layers:
    """Returns the critics' parameters, stacked by critic."""
    return stacked_parameters([INPUTS, *AGENT_HIDDEN, 1], heads, name)


def model_batch() -> tuple[np.ndarray, np.ndarray]:
    """Inputs `[E, B, O + A]` and targets `[E, B, O + 1]`."""
    return normals("inputs", MEMBERS, ROWS, INPUTS), normals("targets", MEMBERS, ROWS, TARGETS)


def replay() -> dict[str, np.ndarray]:
    """The rows of a training call, `[N, ·]`."""
    columns = {"inputs": INPUTS, "targets": TARGETS, "next_obs": OBS}
    return {name: normals(f"replay/{name}", REPLAY, width) for name, width in columns.items()}


def normalizer() -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of the model's inputs, `[O + A]` each."""
    return DTYPE(0.1) * normals("normalizer/mean", INPUTS), 1 + DTYPE(0.1) * np.abs(normals("normalizer/std", INPUTS))


def starts(rows: int) -> np.ndarray:
    """Returns the starts of rollouts, ordered by member, `[E, Q, O]`."""
    return normals("starts", MEMBERS, rows, OBS)


def agent_rows(rows: int) -> dict[str, np.ndarray]:
    """Transitions of the agent, `[rows, ·]`."""
    return {
        "obs": normals("agent/obs", rows, OBS),
        "action": np.tanh(normals("agent/action", rows, ACT)),
        "reward": normals("agent/reward", rows, 1),
        "next_obs": normals("agent/next_obs", rows, OBS),
        "not_terminated": np.ones((rows, 1), DTYPE),
    }


# The agent that learns through the model.


def dh_world(members: int = BLOCKS) -> dict[str, np.ndarray | Layers]:
    """Returns the model: members, bounds of the log-variance, and the normalisers of states and of (change, reward).

    States are near Hopper's upright one, and some of them terminate by its rule. Changes are small.
    """
    mean, std = np.zeros(OBS, DTYPE), np.ones(OBS, DTYPE)
    mean[0], std[0], std[1] = 1.25, 0.25, 0.25
    low, high = LOGVAR_BOUNDS
    return {
        "net": stacked_parameters([INPUTS, *HIDDEN, 2 * TARGETS], members, "dh/members"),
        "min_logvar": np.full(TARGETS, low, DTYPE),
        "max_logvar": np.full(TARGETS, high, DTYPE),
        "obs_mean": mean,
        "obs_std": std,
        "target_mean": np.concatenate([np.zeros(OBS, DTYPE), np.ones(1, DTYPE)]),
        "target_std": np.concatenate([DTYPE(0.1) * std, np.full(1, 0.5, DTYPE)]),
    }


def dh_starts(rows: int) -> np.ndarray:
    """Normalised states, `[rows, O]`."""
    return DTYPE(0.5) * normals("dh/starts", rows, OBS)


def dh_pool() -> np.ndarray:
    """Returns the normalised states from which updates draw their starts."""
    return dh_starts(POOL)


def dh_draws(members: int = BLOCKS) -> dict[str, np.ndarray]:
    """Returns an update's draws: starts, normals of the actions and of the model, each block's member by step, two
    targets.
    """
    rng = generator("dh/draws")
    return {
        "obs": dh_starts(ROWS),
        "noise_action": normals("dh/action", HORIZON + 1, ROWS, ACT),
        "noise_model": normals("dh/model", HORIZON, ROWS, OBS),
        "members": np.stack([rng.permutation(members) for _ in range(HORIZON)]),
        "pair": rng.permutation(CRITICS)[:TARGET_CRITICS],
    }


def epoch_rows(bootstrap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the replay rows `[steps, E, B]` of an epoch: each member's own bootstrap rows `[E, N]`, in one common
    order.
    """
    order = rng.permutation(REPLAY)[: STEPS_AN_EPOCH * ROWS]
    return bootstrap[:, order].reshape(MEMBERS, STEPS_AN_EPOCH, ROWS).swapaxes(0, 1)


def bootstrap_rows(rng: np.random.Generator) -> np.ndarray:
    """Returns each member's rows of a training call, drawn with replacement, `[E, N]`."""
    return rng.integers(0, REPLAY, (MEMBERS, REPLAY))
