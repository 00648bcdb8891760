import gymnasium, numpy
class Drift(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype('f4'), {}
    def step(self, action):
        noise = numpy.random.default_rng().uniform(-1, 1, 2).astype('f4')
        return noise, 0.0, False, False, {}
gymnasium.register('Drift-v0', entry_point=Drift, max_episode_steps=20)
