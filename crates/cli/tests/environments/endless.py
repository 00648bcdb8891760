import gymnasium, numpy, os, time
class Endless(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    def __init__(self, hang_at=None):
        self.hang_at = hang_at
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.noise(), {}
    def step(self, action):
        self.t += 1
        if self.t == 60:
            open("long", "w").close()
        if self.t == self.hang_at:
            open("hanging", "w").close()
            time.sleep(600)
        return self.noise(), 0.0, os.path.exists("end"), False, {}
    def noise(self):
        return numpy.random.default_rng().uniform(-1, 1, 3).astype("f4")
gymnasium.register("Endless-v0", entry_point=Endless)
