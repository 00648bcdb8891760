"""MBPO on Pendulum-v1, plain PyTorch: the peer of the end-to-end workload `pendulum_mbpo`.

    python torch_mbpo.py [--steps 3000] [--threads 2] [--compile] [--seed 0]

Each real step is followed by 20 SAC updates, after 200 random steps. Every 200 real steps the ensemble makes exactly 30
epochs over the replay, and its elites imagine one step from 80,000 real states, 400 a real step; these replace what was
imagined before. Batches hold 5 % real rows once there are imagined ones.

Prints one JSON line: wall-clock ms a real step with start-up, peak memory, and the mean return of ten evaluation
episodes, which are not timed.
"""

import time

STARTED = time.perf_counter()

import argparse
import json
import resource

import common

STEPS = 3000
RANDOM_STEPS = 200
UPDATES_PER_STEP = 20
TRAIN_EVERY = 200
EPOCHS = 30
HOLDOUT = 0.2
ELITES = 5
STARTS_PER_STEP = 400
#: Limits the memory of a rollout; must divide the number of starts of a training call.
STARTS_AT_ONCE = 10_000
REAL_RATIO = 0.05
INITIAL_TEMPERATURE = 0.1
EVALUATION_EPISODES = 10

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="real steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="compile the model's loss and the whole SAC update")
    parser.add_argument("--seed", type=int, default=0)
    ARGUMENTS = parser.parse_args()
    common.set_threads(ARGUMENTS.threads)

import gymnasium
import numpy as np
import torch
from torch import Tensor

import data
from torch_nets import Ensemble, Sac, model_adam
from torch_whole import WholeUpdate

Agent = Sac | WholeUpdate


class Replay:
    """A preallocated ring of transitions, one row each: obs, action, reward, next_obs, not_terminated."""

    def __init__(self, capacity: int, obs: int, act: int) -> None:
        self.widths = {"obs": obs, "action": act, "reward": 1, "next_obs": obs, "not_terminated": 1}
        self.rows = torch.zeros(capacity, sum(self.widths.values()))
        self.size = self.at = 0

    def add(self, rows: Tensor) -> None:
        """Appends rows, over the oldest ones if the ring is full."""
        index = (self.at + torch.arange(len(rows))) % len(self.rows)
        self.rows[index] = rows
        self.at = (self.at + len(rows)) % len(self.rows)
        self.size = min(self.size + len(rows), len(self.rows))

    def sample(self, rows: int) -> Tensor:
        """Returns rows drawn with replacement."""
        return self.rows[torch.randint(self.size, (rows,))]

    def columns(self, rows: Tensor) -> dict[str, Tensor]:
        """Splits rows into columns by name."""
        return dict(zip(self.widths, rows.split(list(self.widths.values()), -1)))


class Model:
    """The ensemble with its normaliser, its optimiser and its elites."""

    def __init__(self, obs: int, act: int, compiled: bool) -> None:
        sizes = [obs + act, *common.HIDDEN, 2 * (obs + 1)]
        self.net = Ensemble(data.stacked_parameters(sizes, common.MEMBERS, "pendulum model", gain=0.5))
        self.adam = model_adam(self.net)
        self.loss = self.net.likelihood_loss
        # Compiled for whole batches; the short last batch of an epoch runs in eager mode.
        self.whole_batch_loss = torch.compile(self.loss, dynamic=False) if compiled else self.loss
        self.mean, self.deviation = torch.zeros(obs + act), torch.ones(obs + act)
        self.elites = list(range(ELITES))

    def fit(self, batch: dict[str, Tensor]) -> None:
        """Makes one training call on all real rows."""
        inputs = torch.cat([batch["obs"], batch["action"]], -1)
        targets = torch.cat([batch["next_obs"] - batch["obs"], batch["reward"]], -1)
        self.mean, self.deviation = inputs.mean(0), inputs.std(0).clamp_min(1e-6)
        inputs = (inputs - self.mean) / self.deviation

        shuffled = torch.randperm(len(inputs))
        held, train = shuffled.split([int(HOLDOUT * len(inputs)), len(inputs) - int(HOLDOUT * len(inputs))])
        bootstrap = train[torch.randint(len(train), (common.MEMBERS, len(train)))]
        for _ in range(EPOCHS):
            for positions in torch.randperm(len(train)).split(common.ROWS):
                rows = bootstrap[:, positions]
                loss_of = self.whole_batch_loss if len(positions) == common.ROWS else self.loss
                loss = loss_of(inputs[rows], targets[rows])
                self.adam.zero_grad(set_to_none=True)
                loss.backward()
                self.adam.step()

        with torch.no_grad():
            x = inputs[held].expand(common.MEMBERS, -1, -1)
            mean, _ = self.net.bounded(self.net(x))
            scores = (mean - targets[held]).square().mean((1, 2))
        self.elites = scores.argsort()[:ELITES].tolist()

    @torch.no_grad()
    def imagine(self, obs: Tensor, action: Tensor) -> Tensor:
        """Returns the change of the observation and the reward, `[N, O + 1]`, with noise; each row is predicted by its
        own elite.
        """
        inputs = (torch.cat([obs, action], -1) - self.mean) / self.deviation
        drawn = torch.empty(len(obs), obs.shape[1] + 1)
        choice = torch.randint(len(self.elites), (len(obs),))
        for n, elite in enumerate(self.elites):
            rows = (choice == n).nonzero()[:, 0]
            mean, logvar = self.net.bounded(self.net.member(elite, inputs[rows]))
            drawn[rows] = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        return drawn


def imagine(model: Model, agent: Agent, real: Replay, imagined: Replay, starts: int) -> None:
    """Makes one imagined step from real states."""
    for _ in range(0, starts, STARTS_AT_ONCE):
        obs = real.columns(real.sample(STARTS_AT_ONCE))["obs"]
        action = agent.act(obs, torch.randn(STARTS_AT_ONCE, real.widths["action"]))
        drawn = model.imagine(obs, action)
        change, reward = drawn[:, :-1], drawn[:, -1:]
        imagined.add(torch.cat([obs, action, reward, obs + change, torch.ones_like(reward)], -1))


def update(agent: Agent, real: Replay, imagined: Replay) -> None:
    """Makes one SAC update on a batch of real and imagined rows."""
    if imagined.size:
        share = round(REAL_RATIO * common.ROWS)
        rows = torch.cat([real.sample(share), imagined.sample(common.ROWS - share)])
    else:
        rows = real.sample(common.ROWS)
    noise = torch.randn(2, common.ROWS, real.widths["action"])
    agent.update(real.columns(rows), noise[0], noise[1])


def evaluate(agent: Agent, episodes: int) -> float:
    """Returns the mean return of the mean action."""
    env = gymnasium.make("Pendulum-v1")
    total = 0.0
    for episode in range(episodes):
        obs, _ = env.reset(seed=10_000 + episode)
        over = False
        while not over:
            action = agent.act(torch.from_numpy(obs)[None], torch.zeros(1, *env.action_space.shape))[0].numpy()
            obs, reward, terminated, truncated, _ = env.step(action * env.action_space.high)
            total, over = total + float(reward), terminated or truncated
    return total / episodes


def run(steps: int, compiled: bool, seed: int) -> Agent:
    """Runs the training loop."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    env = gymnasium.make("Pendulum-v1")
    (obs_dim,), (act,) = env.observation_space.shape, env.action_space.shape
    real = Replay(steps, obs_dim, act)
    imagined = Replay(STARTS_PER_STEP * TRAIN_EVERY, obs_dim, act)
    model = Model(obs_dim, act, compiled)
    agent: Agent = Sac(
        data.stacked_parameters([obs_dim, *common.AGENT_HIDDEN, 2 * act], 1, "pendulum actor"),
        data.stacked_parameters([obs_dim + act, *common.AGENT_HIDDEN, 1], 2, "pendulum critic"),
        form="batched",
        initial_temperature=INITIAL_TEMPERATURE,
    )
    if compiled:
        agent = WholeUpdate(agent, compiled=True)

    obs, _ = env.reset(seed=seed)
    for step in range(1, steps + 1):
        # Act.
        if step <= RANDOM_STEPS:
            action = rng.uniform(-1, 1, act).astype(np.float32)
        else:
            action = agent.act(torch.from_numpy(obs)[None], torch.randn(1, act))[0].numpy()
        next_obs, reward, terminated, truncated, _ = env.step(action * env.action_space.high)
        row = np.concatenate([obs, action, [reward], next_obs, [not terminated]], dtype=np.float32)
        real.add(torch.from_numpy(row)[None])
        obs = env.reset()[0] if terminated or truncated else next_obs

        # Fit the model, and imagine in it.
        if step % TRAIN_EVERY == 0:
            model.fit(real.columns(real.rows[: real.size]))
            imagine(model, agent, real, imagined, STARTS_PER_STEP * TRAIN_EVERY)

        # Train the agent on both.
        if step > RANDOM_STEPS:
            for _ in range(UPDATES_PER_STEP):
                update(agent, real, imagined)
    return agent


if __name__ == "__main__":
    torch.set_num_threads(ARGUMENTS.threads)
    trained = run(ARGUMENTS.steps, ARGUMENTS.compile, ARGUMENTS.seed)
    elapsed = time.perf_counter() - STARTED
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "program": "torch",
        "workload": "pendulum_mbpo",
        "variant": "compile" if ARGUMENTS.compile else "eager",
        "median_ms": elapsed / ARGUMENTS.steps * 1e3,
        "steps": ARGUMENTS.steps,
        "threads": ARGUMENTS.threads,
        "peak_rss_mb": peak,
        "mean_return": evaluate(trained, EVALUATION_EPISODES),
    }
    print(json.dumps(result))
