import gymnasium, os
class Burning(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.noise(), {}
    def step(self, action):
        self.t += 1
        if self.t == 15 and os.path.exists("hot"):
            raise ValueError("the motor burns")
        return self.noise(), 0.0, False, False, {}
    def noise(self):
        return self.np_random.uniform(-1, 1, 3).astype("f4")
gymnasium.register("Burning-v0", entry_point=Burning, max_episode_steps=25)
