"""An environment that takes the id of one of Gymnasium's own tasks."""

import gymnasium

from tests.gym_envs.faults import Faulty

gymnasium.register("Swimmer-v5", Faulty, max_episode_steps=30)
