import gymnasium, time
class Slow(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1, 1)
        return self.x.astype("f4"), {}
    def step(self, action):
        time.sleep(0.2)
        open("stepped", "w").close()
        self.x = 0.95 * self.x + 0.1 * float(action[0])
        return self.x.astype("f4"), -float(self.x[0] ** 2), False, False, {}
gymnasium.register("Slow-v0", entry_point=Slow, max_episode_steps=10)
