"""A counter whose observation is a dictionary of a box and a tuple of boxes, whose keys are not ordered by name."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Tuple


class Nested(gymnasium.Env):
    observation_space = Dict(
        {
            "time": Box(-np.inf, np.inf, (1, 2), np.float64),
            "arm": Tuple((Box(-2, 2, (2,), np.float32), Box(-1, 1, (), np.float64))),
        }
    )
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = float(self.np_random.integers(100)) if seed != 3 else 3.0
        return self.observation(), {}

    def step(self, action):
        self.time += float(action[0])
        return self.observation(), -self.time, False, False, {}

    def observation(self):
        arm = (np.array([0.0, 0.25], np.float32), np.float64(0.5))
        return {"time": np.array([[self.time, self.time + 0.5]]), "arm": arm}


gymnasium.register("Nested-v0", Nested, max_episode_steps=9)
