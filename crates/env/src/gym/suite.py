"""A task of dm_control's suite with the calls of a Gymnasium environment. It stands before `child.py`, which plays it.

* The observation is dm_control's dictionary as one row: its entries flattened, in the order of the task.
* The last step is a truncation where its discount is above 0, as at the time limit; a discount of 0 is the task's own
  end. Of the suite's tasks those of the domain `lqr` alone have one.
* A seed begins the task's own `RandomState` anew, so that `reset(seed)` gives what `suite.load(..., {"random": seed})`
  gives first.
"""

import difflib
import importlib.metadata
import math
import os
from typing import NamedTuple


class Ends(NamedTuple):
    """What of a Gymnasium Box is used."""

    low: object
    high: object
    shape: tuple
    dtype: object


def suite_of_dm_control():
    # Nothing is drawn here, and to look for a display costs a second where there is one.
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


def load_of_suite(suite, name, kwargs):
    """`name` is DOMAIN-TASK; `kwargs` are those of `suite.load`."""
    tasks = {f"{domain}-{task}": (domain, task) for domain, task in suite.ALL_TASKS}
    if name not in tasks:
        near = difflib.get_close_matches(name.lower(), tasks, 3, 0.0)
        raise Refused("task", f"dm_control's suite has no task `{name}`", ", ".join(f"`dmc:{task}`" for task in near))
    # Without it two processes of a task whose model is drawn, as `lqr-lqr_2_1`, would have two models.
    task_kwargs = {"random": 0} | kwargs.get("task_kwargs", {})
    try:
        return suite.load(*tasks[name], **kwargs | {"task_kwargs": task_kwargs})
    except AttributeError as error:
        # dm_control reads all fields of MuJoCo's structs by their names, of which another version has others.
        if not str(error).startswith("'Mj"):
            raise
        versions = [f"{package} {version_of(package)}" for package in ("dm_control", "mujoco")]
        raise Refused("dm_control", f"{versions[0]} does not go with {versions[1]}: {error}") from None


class SuiteTask:
    def __init__(self, np, env):
        self.np, self.env = np, env
        # The suite counts steps until they reach a quotient of times.
        limit = env._step_limit
        self.limit = None if math.isinf(limit) else math.ceil(limit)
        actions = env.action_spec()
        self.action_space = Ends(*self.ends([actions]), actions.shape, actions.dtype)
        low, high = self.ends(env.observation_spec().values())
        self.observation_space = Ends(low, high, low.shape, low.dtype)

    def ends(self, specs):
        """Of all entries, flat, f64."""
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


