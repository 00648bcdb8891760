"""The data and initial weights of the workloads as numpy arrays, so that every program starts from the same numbers.

Axis letters: `E` ensemble member, `B` batch row, `N` replay row, `O` observation, `A` action.
"""

import zlib

import numpy as np

from common import ACT, AGENT_HIDDEN, HIDDEN, INPUTS, MEMBERS, OBS, REPLAY, ROWS, STEPS_AN_EPOCH, TARGETS

#: Of all arrays. `check.py` compares in double precision, where no rounding flips the sign of a small gradient.
DTYPE: type = np.float32

#: Weights `[E, I, O]` and biases `[E, 1, O]`, layer by layer.
Layers = tuple[list[np.ndarray], list[np.ndarray]]


def generator(name: str) -> np.random.Generator:
    """A stream of its own for every name."""
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
    """Critics, head by head."""
    return stacked_parameters([INPUTS, *AGENT_HIDDEN, 1], heads, name)


def model_batch() -> tuple[np.ndarray, np.ndarray]:
    """Inputs `[E, B, O + A]` and targets `[E, B, O + 1]`."""
    return normals("inputs", MEMBERS, ROWS, INPUTS), normals("targets", MEMBERS, ROWS, TARGETS)


def replay() -> dict[str, np.ndarray]:
    """The rows of a training call, `[N, ·]`."""
    columns = {"inputs": INPUTS, "targets": TARGETS, "next_obs": OBS}
    return {name: normals(f"replay/{name}", REPLAY, width) for name, width in columns.items()}


def normalizer() -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the model's inputs, `[O + A]` each."""
    return DTYPE(0.1) * normals("normalizer/mean", INPUTS), 1 + DTYPE(0.1) * np.abs(normals("normalizer/std", INPUTS))


def starts(rows: int) -> np.ndarray:
    """First states of rollouts, a member's at a time, `[E, Q, O]`."""
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


def epoch_rows(bootstrap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The replay rows `[steps, E, B]` of an epoch: each member's own bootstrap rows `[E, N]`, in one common order."""
    order = rng.permutation(REPLAY)[: STEPS_AN_EPOCH * ROWS]
    return bootstrap[:, order].reshape(MEMBERS, STEPS_AN_EPOCH, ROWS).swapaxes(0, 1)


def bootstrap_rows(rng: np.random.Generator) -> np.ndarray:
    """Each member's rows of a training call, drawn with replacement, `[E, N]`."""
    return rng.integers(0, REPLAY, (MEMBERS, REPLAY))
