"""Environments with one fault each: `fault` names it, and `at` is the step at which it happens (0: in the reset).

The environment without a fault draws from its generator in resets and in steps, so that the tests notice a restore that
loses the generator.
"""

import ctypes
import os
import random
import signal
import struct
import subprocess
import sys
import time

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Faulty(gymnasium.Env):
    def __init__(self, fault="", at=3, marker=None, log=None, noise=False, pid=False, shape=(2,), dtype="float64"):
        if log is not None:
            with open(log, "a") as file:
                print("made", file=file)
        self.noise = noise
        self.info = {"pid": os.getpid()} if pid else {}
        self.fault, self.at, self.marker = fault, at, marker
        self.observation_space = Box(-np.inf, np.inf, shape, dtype)
        self.action_space = Box(-2.0, 2.0, shape, dtype)
        if fault.startswith("simulator"):
            self.info["simulator"] = subprocess.Popen(["sleep", "600"]).pid
        if fault == "discrete actions":
            self.action_space = Discrete(3)
        if fault == "wide actions":
            self.action_space = Box(-1.0, np.array([1.0, 1e300]), (2,), np.float64)
        if fault == "all floats":
            self.action_space = Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,), np.float32)
        if fault == "whole actions":
            self.action_space = Box(0, 9, (2,), np.int64)
        if fault == "dict observations":
            self.observation_space = Dict(x=Box(-1, 1, (1,)), way=Discrete(2))
        if fault == "make":
            raise ValueError("no such track")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            if self.fault == "another generator":
                self.np_random = np.random.Generator(np.random.MT19937(seed))
            if self.fault == "older generator":
                self.np_random = np.random.RandomState(seed)
            if self.fault == "signed seeds":
                struct.pack("<i", seed)
            # Kept during resets without a seed.
            self.wind = self.np_random.normal()
        self.x = self.np_random.normal(size=self.observation_space.shape)
        self.t = 0
        if self.at == 0:
            self.go_wrong()
        return self.observation(), self.info

    def step(self, action):
        assert action.shape == self.action_space.shape and action.dtype == self.action_space.dtype
        assert self.action_space.contains(action)
        self.t += 1
        self.x = 0.9 * self.x + action + 0.1 * self.wind + 0.01 * self.np_random.normal(size=self.x.shape)
        if self.t == self.at:
            self.go_wrong()
        reward = np.float32(-np.square(self.x).sum())
        if self.t == self.at and self.fault == "nan reward":
            reward = np.nan
        if self.t == self.at and self.fault == "huge reward":
            reward = -1e39
        if self.t == self.at and self.fault == "four values":
            return self.observation(), reward, False, {}
        action *= 0
        return self.observation(), reward, np.bool_(self.t == 40), False, self.info | {"steps": self.t, "text": "no number"}

    def close(self):
        if self.fault == "close":
            time.sleep(600)

    def observation(self):
        x = self.x.astype(self.observation_space.dtype)
        if self.noise:
            x += random.random()
        if self.t != self.at:
            return x
        if self.fault == "shape":
            return np.zeros(5)
        if self.fault == "nan":
            x[1] = np.nan
        if self.fault == "huge":
            x[1] = 1e300
        if self.fault == "infinite":
            x[0] = -np.inf
        if self.fault == "own randomness":
            x[0] += random.random()
        return x

    def go_wrong(self):
        if self.marker is not None:
            # The fault happens only once.
            if os.path.exists(self.marker):
                return
            open(self.marker, "w").close()
        if self.fault == "simulator, exit":
            os._exit(3)
        if self.fault == "simulator, hang":
            time.sleep(600)
        if self.fault == "slow":
            time.sleep(0.4)
        if self.fault == "exit":
            print("the motor burns")
            os._exit(3)
        if self.fault == "segmentation fault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "hang":
            print("waiting for the simulator", file=sys.stderr)
            time.sleep(600)
        if self.fault == "hang with the lock":
            ctypes.PyDLL(None).sleep(600)
        if self.fault == "exception":
            raise ValueError("the arm is out of reach")
        if self.fault == "quit":
            sys.exit(7)
        if self.fault == "forked":
            # A child process keeps the descriptors of the process that dies.
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
            os._exit(4)


class Chatty(Faulty):
    """Writes to stdout and stderr, and reads from stdin, in each step."""

    def step(self, action):
        print("hello")
        os.write(1, b"\x00\x01\x02 from below\n" * 100)
        sys.stdout.buffer.write(b"\xff\xfe")
        print("and here", file=sys.stderr)
        assert sys.stdin.read() == ""
        return super().step(action)


class Giving(Faulty):
    """Replaces parts of the result of step `at`: `gives` holds a Python expression by the name of each part."""

    def __init__(self, gives, **kwargs):
        super().__init__(**kwargs)
        self.gives = {name: eval(text) for name, text in gives.items()}

    def step(self, action):
        parts = dict(zip(("obs", "reward", "terminated", "truncated", "info"), super().step(action)))
        if self.t == self.at:
            parts |= self.gives
        return tuple(parts.values())


class Telling(gymnasium.Env):
    """Raises an exception that shows its arguments."""

    def __init__(self, **kwargs):
        raise ValueError(repr(kwargs))


gymnasium.register("Faulty-v0", Faulty, max_episode_steps=30)
gymnasium.register("Chatty-v0", Chatty, max_episode_steps=30)
gymnasium.register("Giving-v0", Giving)
gymnasium.register("Telling-v0", Telling)
