"""Records gymnasium.vector.SyncVectorEnv around the ends of episodes, in its three auto-reset modes.

python record.py > recorded.json     (Gymnasium 1.4.0, numpy 2.4.6)

Three MountainCarContinuous-v0 from reset(seed=[3, 4, 3]) with time limits of 999, 50 and 109 steps. A rule on the
observation chooses the actions. The first environment reaches the goal in step 109, the second reaches its limit, and
the third does both in the same step. A row holds step, environment, observation, reward, terminated, truncated, and the
final observation or null. Only the rows at an end and the two after each end are kept; a mistake in any other row would
also change these.
"""

import json

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

LIMITS, SEEDS, STEPS = [999, 50, 109], [3, 4, 3], 260


def record(mode):
    make = lambda limit: lambda: gymnasium.make("MountainCarContinuous-v0", max_episode_steps=limit)
    envs = SyncVectorEnv([make(limit) for limit in LIMITS], autoreset_mode=mode)
    obs, _ = envs.reset(seed=SEEDS)
    ended, rows = np.full(len(LIMITS), -9), []
    for t in range(1, STEPS + 1):
        actions = np.where(obs[:, 1] >= 0, 0.9, -0.7).astype(np.float32)[:, None]
        obs, rewards, terminated, truncated, info = envs.step(actions)
        over = terminated | truncated
        ended[over] = t
        for i in np.flatnonzero(t - ended <= 2):
            final = info["final_obs"][i].tolist() if "final_obs" in info and info["_final_obs"][i] else None
            flags = [bool(terminated[i]), bool(truncated[i])]
            rows.append([t, int(i), obs[i].tolist(), float(rewards[i]), *flags, final])
        if mode == AutoresetMode.DISABLED and over.any():
            obs, _ = envs.reset(options={"reset_mask": over})
    return rows


modes = {mode.name: record(mode) for mode in AutoresetMode}
print("{" + ",\n".join(f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in modes.items()) + "}")
