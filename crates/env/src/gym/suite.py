"""A task of dm_control's suite with the methods of a Gymnasium environment. This text is put before `child.py`, which
plays the task.

* The observation is dm_control's dictionary as one row: its entries flattened, in the order of the task.
* The last step is a truncation if its discount is above 0, as at the time limit. A discount of 0 is a termination. Only
  the tasks of the domain `lqr` have one.
* A seed restarts the task's own `RandomState`, so that `reset(seed)` gives the first reset of
  `suite.load(..., {"random": seed})`.
"""

import difflib
import importlib.metadata
import math
import os
from typing import NamedTuple


class Bounds(NamedTuple):
    """The attributes of a Gymnasium Box that are used."""

    low: object
    high: object
    shape: tuple
    dtype: object


def import_suite():
    # Nothing is rendered here, and the search for a display takes a second where there is one.
    os.environ.setdefault("MUJOCO_GL", "disabled")
    try:
        import numpy
        from dm_control import suite
    except ImportError as error:
        raise Refused("dm_control", f"{type(error).__name__}: {error}") from None
    return suite, numpy


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def load_suite_task(suite, name, kwargs):
    """Loads the task DOMAIN-TASK with keyword arguments of `suite.load`."""
    tasks = {f"{domain}-{task}": (domain, task) for domain, task in suite.ALL_TASKS}
    if name not in tasks:
        near = difflib.get_close_matches(name.lower(), tasks, 3, 0.0)
        raise Refused("task", f"dm_control's suite has no task `{name}`", ", ".join(f"`dmc:{task}`" for task in near))
    # Without a seed, two processes of a task with a randomly drawn model, such as `lqr-lqr_2_1`, would have different
    # models.
    task_kwargs = {"random": 0} | kwargs.get("task_kwargs", {})
    try:
        return suite.load(*tasks[name], **kwargs | {"task_kwargs": task_kwargs})
    except AttributeError as error:
        # dm_control reads all fields of MuJoCo's structs by name, and another version of MuJoCo has other fields.
        if not str(error).startswith("'Mj"):
            raise
        versions = [f"{package} {version_of(package)}" for package in ("dm_control", "mujoco")]
        raise Refused("dm_control", f"{versions[0]} is not compatible with {versions[1]}: {error}") from None


class SuiteTask:
    def __init__(self, np, env):
        self.np, self.env = np, env
        # The suite counts steps up to the quotient of the time limit and the time step, which need not be whole.
        limit = env._step_limit
        self.limit = None if math.isinf(limit) else math.ceil(limit)
        actions = env.action_spec()
        self.action_space = Bounds(*self.bounds([actions]), actions.shape, actions.dtype)
        low, high = self.bounds(env.observation_spec().values())
        self.observation_space = Bounds(low, high, low.shape, low.dtype)

    def bounds(self, specs):
        """Returns the low and the high ends of all entries, flat, f64."""
        np = self.np

        def row(name, unbounded):
            parts = [np.broadcast_to(getattr(spec, name, unbounded), spec.shape).ravel() for spec in specs]
            return np.concatenate(parts).astype(np.float64)

        return row("minimum", -np.inf), row("maximum", np.inf)

    @property
    def unwrapped(self):
        return self

    @property
    def np_random(self):
        return self.env.task.random

    def reset(self, seed=None):
        if seed is not None:
            self.env.task.random.seed(seed)
        return self.row(self.env.reset().observation), {}

    def step(self, action):
        timestep = self.env.step(action)
        terminated = timestep.last() and timestep.discount == 0.0
        truncated = timestep.last() and not terminated
        return self.row(timestep.observation), timestep.reward, terminated, truncated, {}

    def row(self, observation):
        return self.np.concatenate([self.np.ravel(part) for part in observation.values()]).astype(self.np.float64)

    def close(self):
        self.env.close()


