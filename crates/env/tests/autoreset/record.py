"""Records gymnasium.vector.SyncVectorEnv around the ends of episodes, in its three auto-reset modes.

python record.py > recorded.json     (Gymnasium 1.4.0, numpy 2.4.6)

Three MountainCarContinuous-v0 from reset(seed=[3, 4, 3]) with time limits of 999, 50 and 109 steps, driven by a rule on
what is observed. The first reaches the goal in step 109, the second runs into its limit, the third does both at once.
A row: step, environment, observation, reward, terminated, truncated, final observation or null. Kept are the rows with
an end and the two after; a slip anywhere else would show in them.
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
