"""Environments with the interface of gym before 0.26, Gymnasium's predecessor, each in one respect."""

import sys
import types

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict


class Current(gymnasium.Env):
    observation_space = Box(-10, 10, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}


class FourValues(Current):
    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, {}


class NoSeed(Current):
    def reset(self):
        return np.zeros(1, np.float32), {}


class NoOptions(Current):
    def reset(self, seed=None):
        return np.zeros(1, np.float32), {}


class NoInfo(Current):
    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32)


class NoInfoOfTwo(Current):
    """The observation has two entries, so that unpacking it as observation and info succeeds."""

    observation_space = Dict(x=Box(-1, 1, (1,)), y=Box(-1, 1, (1,)))

    def reset(self, *, seed=None, options=None):
        return {"x": np.zeros(1, np.float32), "y": np.zeros(1, np.float32)}


class OlderWrapper(gymnasium.Wrapper):
    def step(self, action):
        observation, reward, done, info = self.env.step(action)
        return observation, reward, done, False, info


class InnerSeed(Current):
    """An own mistake: not `reset` itself, but something that it calls, takes no seed."""

    def reset(self, *, seed=None, options=None):
        return self.simulator(seed=seed)

    def simulator(self):
        return np.zeros(1, np.float32), {}


# A stand-in for the package `gym`.
gym = types.ModuleType("gym")
gym.core = types.ModuleType("gym.core")
gym.core.Env = type("Env", (), {"__module__": "gym.core"})
gym.envs = types.SimpleNamespace(registration=types.SimpleNamespace(registry={"Registered-v0": None}))


class OlderClass(gym.core.Env):
    observation_space, action_space = Current.observation_space, Current.action_space


class OlderGrandchild(OlderClass):
    pass


def importing():
    import gym.spaces


sys.modules["gym"] = gym
for entry in (FourValues, NoSeed, NoOptions, NoInfo, NoInfoOfTwo, OlderClass, OlderGrandchild, InnerSeed):
    gymnasium.register(f"{entry.__name__}-v0", entry, max_episode_steps=50)
gymnasium.register("Wrapped-v0", lambda: OlderWrapper(Current()), max_episode_steps=50)
gymnasium.register("Importing-v0", importing)
