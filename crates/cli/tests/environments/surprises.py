import gymnasium, numpy
class Unseeded(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    def reset(self, *, seed=None, options=None):
        self.x = self.np_random.uniform(-0.5, 0.5, 1)
        return self.x.astype("f4"), {}
    def step(self, action):
        self.x = self.x + 0.1 * float(action[0])
        return self.x.astype("f4"), 1.0, False, False, {}
class Ends(Unseeded):
    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        return super().reset()
    def step(self, action):
        x, reward, _, truncated, info = super().step(4.0 * action)
        return x, reward, bool(abs(x[0]) > 0.6), truncated, info
class Older(Ends):
    def step(self, action):
        x, reward, terminated, truncated, info = super().step(action)
        return x, reward, terminated or truncated, info
class Wide(Ends):
    action_space = gymnasium.spaces.Box(numpy.finfo("f4").min, numpy.finfo("f4").max, (1,))
    def step(self, action):
        return super().step(numpy.sign(action))
class NoisySteps(Ends):
    def step(self, action):
        x, reward, _, truncated, info = super().step(action)
        return x, reward + float(numpy.random.normal()), False, truncated, info
for kind in (Unseeded, Ends, Older, Wide, NoisySteps):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind, max_episode_steps=20)
