"""PyTorch's update of the agent that learns through the model (DHMBPO). The symbols and equations are in `jax_dh.py`.

Networks are lists of layers `(weight, bias)` in one of two forms: `batched`, `[E, I, O]` and `[E, 1, O]`, with one
product per layer for all networks; or `separate`, a list of `[I, O]` and `[1, O]` per network. The arithmetic is
written once, on such lists. It runs eagerly, with its losses compiled, or as one compiled graph.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import data
from common import (
    ACT, AGENT_LR, BLOCKS, BOUNDS_RATE, CRITICS, LAYER_NORM_EPS, LONG_DISCOUNT, OBS, QUANTILES, TAU, Runner,
)  # fmt: skip
from torch_nets import adam

NORMS = (None, LAYER_NORM_EPS, LAYER_NORM_EPS)

Net = list[tuple[Tensor, Tensor]]
#: One stack of networks, or a list of networks.
Nets = Net | list[Net]
Draws = dict[str, Tensor]
Norms = Sequence[float | None]


# Networks.


def stacked(layers: data.Layers) -> Net:
    """Returns all networks as one stack."""
    return [(torch.tensor(w), torch.tensor(b)) for w, b in zip(*layers)]


def separate(layers: data.Layers) -> list[Net]:
    """Returns a list of layers for every network."""
    count = range(len(layers[0][0]))
    return [[(torch.tensor(w[e]), torch.tensor(b[e])) for w, b in zip(*layers)] for e in count]


def flat(nets: Any) -> list[Tensor]:
    """Returns all tensors of either form, in a fixed order."""
    return [nets] if isinstance(nets, Tensor) else [tensor for part in nets for tensor in flat(part)]


def like(nets: Any, tensors: list[Tensor]) -> Any:
    """Returns tensors in the order of `flat`, in the form of `nets`."""
    rest = iter(tensors)

    def build(part: Any) -> Any:
        return next(rest) if isinstance(part, Tensor) else type(part)(build(each) for each in part)

    return build(nets)


def perceptron(net: Net, x: Tensor, norms: Norms = ()) -> Tensor:
    """Passes `[B, I]` through one network, or `[E, B, I]` through a stack."""
    for n, (weight, bias) in enumerate(net):
        eps = norms[n] if norms else None
        if eps is not None:
            x = F.layer_norm(x, x.shape[-1:], eps=eps)
        x = torch.addmm(bias, x, weight) if x.dim() == 2 else torch.baddbmm(bias, x, weight)
        x = F.silu(x) if n < len(net) - 1 else x
    return x


def outputs(nets: Nets, x: Tensor, norms: Norms = ()) -> Tensor:
    """Passes `[E, B, I]`, or `[B, I]` for all networks, through either form: `-> [E, B, C]`."""
    if isinstance(nets[0], tuple):
        rows = x if x.dim() == 3 else x.expand(nets[0][0].shape[0], -1, -1)
        return perceptron(nets, rows, norms)
    own = x.unbind(0) if x.dim() == 3 else [x] * len(nets)
    return torch.stack([perceptron(net, rows, norms) for net, rows in zip(nets, own)])


def chosen(nets: Nets, numbers: Tensor) -> Nets:
    """Returns some of the networks, in either form."""
    if isinstance(nets[0], tuple):
        return [(weight[numbers], bias[numbers]) for weight, bias in nets]
    return [nets[n] for n in numbers.tolist()]


# The model.


def by_member(nets: Nets, x: Tensor, members: Tensor, norms: Norms = ()) -> Tensor:
    """`[B, I] -> [B, C]`: passes block j of the rows through the member `members[j]`."""
    rows = x.view(members.shape[0], -1, x.shape[-1])
    return outputs(nets, rows[torch.argsort(members)], norms)[members].reshape(x.shape[0], -1)


def hopper_ends(obs: Tensor) -> Tensor:
    """Hopper's termination rule, raw states `[B, O] -> [B]`."""
    return ~((obs[:, 0] > 0.7) & (obs[:, 1].abs() < 0.2) & (obs[:, 1:].abs() < 100.0).all(-1))


def gaussian_step(
    world: dict[str, Any], obs: Tensor, action: Tensor, noise: Tensor, members: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns reward, next state and termination: a sampled change, and the mean of the reward, which is the last
    channel.
    """
    mean, logvar = by_member(world["net"], torch.cat([obs, action], -1), members).chunk(2, -1)
    mean, reward = mean[:, :-1], mean[:, -1]
    low, high, std, centre = (world[name] for name in ("min_logvar", "max_logvar", "target_std", "target_mean"))
    logvar = high[:-1] - F.softplus(high[:-1] - logvar[:, :-1])
    logvar = low[:-1] + F.softplus(logvar - low[:-1])
    change = (mean + torch.exp(0.5 * logvar) * noise) * std[:-1] + centre[:-1]
    obs = obs + change / world["obs_std"]
    return reward * std[-1] + centre[-1], obs, hopper_ends(obs * world["obs_std"] + world["obs_mean"])


def world(form: Callable, members: int = BLOCKS) -> dict[str, Any]:
    """Returns the model's parameters."""
    parts = data.dh_world(members)
    return {"net": form(parts["net"])} | {name: torch.tensor(part) for name, part in parts.items() if name != "net"}


# The agent's losses.


def sample(actor: Net, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the action `[B, A]` and its log-probability `[B]`."""
    mean, raw = perceptron(actor, obs).chunk(2, -1)
    std = F.softplus(raw) + 1e-5
    u = mean + std * noise
    gaussian = -0.5 * noise.square() - std.log() - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2) - u - F.softplus(-2 * u))
    return torch.tanh(u), (gaussian - squash).sum(-1)


def values(critics: Nets, obs: Tensor, action: Tensor, bounds: Tensor, norms: Norms = NORMS) -> Tensor:
    """Returns the values of all critics, `[N, B]`."""
    net = outputs(critics, torch.cat([obs, action], -1), norms)[..., 0]
    return (bounds[0] + bounds[1]) / 2 + (bounds[1] - bounds[0]) / 2 * net


class Losses:
    """The losses of an update, with the model's step and the layer norms of the critics."""

    def __init__(self, step: Callable = gaussian_step, norms: Norms = NORMS) -> None:
        self.step, self.norms = step, norms

    def rollout(
        self, actor: Net, world: Any, draws: Draws, alpha: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Returns J, s_H and a_H, which have gradients; and a_0, rewards, log-probabilities and γ^H m_H, which have
        none.
        """
        obs, horizon = draws["obs"], draws["members"].shape[0]
        alive, total = torch.ones_like(obs[:, 0]), torch.zeros_like(obs[:, 0])
        rewards, log_probs, actions = [], [], []
        for k in range(horizon):
            action, log_prob = sample(actor, obs, draws["noise_action"][k])
            reward, obs, ends = self.step(world, obs, action, draws["noise_model"][k], draws["members"][k])
            total = total + LONG_DISCOUNT**k * alive * (reward - alpha * log_prob)
            alive = torch.where(ends, 0.0, alive)
            rewards.append(reward)
            log_probs.append(log_prob)
            actions.append(action)
        action, log_prob = sample(actor, obs, draws["noise_action"][horizon])
        tail = LONG_DISCOUNT**horizon * alive
        seen = actions[0].detach(), torch.stack(rewards).detach(), torch.stack(log_probs).detach(), tail
        return (total - tail * alpha * log_prob, obs, action), seen

    def bounds(self, bounds: Tensor, rewards: Tensor, log_probs: Tensor, alpha: Tensor) -> Tensor:
        """Returns the bounds, moved towards the quantiles."""
        q = torch.tensor(QUANTILES, dtype=rewards.dtype)
        new = torch.quantile((rewards - alpha * log_probs).reshape(-1), q) / (1 - LONG_DISCOUNT)
        return bounds + BOUNDS_RATE * (new - bounds)

    def targets(
        self, pair: Nets, ends: tuple[Tensor, ...], seen: tuple[Tensor, ...], bounds: Tensor, alpha: Tensor
    ) -> Tensor:
        """Returns y, computed with the two chosen targets."""
        total, obs, action = ends
        _, _, log_probs, tail = seen
        least = values(pair, obs, action, bounds, self.norms).min(0).values
        return total + alpha * log_probs[0] + tail * torch.maximum(torch.minimum(least, bounds[1]), bounds[0])

    def critic(self, critics: Nets, obs: Tensor, action: Tensor, y: Tensor, bounds: Tensor) -> Tensor:
        """Sum over critics of the mean squared error."""
        return (values(critics, obs, action, bounds, self.norms) - y).square().mean(1).sum()

    def ahead(self, critics: Nets, obs: Tensor, action: Tensor, tail: Tensor, bounds: Tensor) -> Tensor:
        """Returns the part of the actor's loss beyond the horizon."""
        return -(tail * values(critics, obs, action, bounds, self.norms).mean(0)).mean()


class Agent:
    """Networks and optimisers, with an update by autograd: eager, or with its losses compiled."""

    def __init__(
        self,
        actor: Net,
        critics: Nets,
        targets: Nets,
        bounds: Tensor,
        losses: Losses | None = None,
        compiled: bool = False,
        alpha: float = 0.1,
    ) -> None:
        self.losses = losses or Losses()
        self.actor, self.critics, self.target, self.bounds = actor, critics, targets, bounds
        self.log_temperature = torch.log(torch.full((), alpha))
        self.parts = {"actor": flat(actor), "critic": flat(critics), "temperature": [self.log_temperature]}
        for tensor in (tensor for part in self.parts.values() for tensor in part):
            tensor.requires_grad_()
        self.adams = {name: adam(part, AGENT_LR) for name, part in self.parts.items()}
        self.online, self.targets = self.parts["critic"], flat(targets)
        #: The critics' memory without autograd, because the actor's loss needs no gradient of the critics.
        self.plain_critics = like(critics, [tensor.detach() for tensor in self.online])
        self.plain_actor = like(actor, [tensor.detach() for tensor in self.parts["actor"]])
        compile_if = partial(torch.compile, dynamic=False) if compiled else lambda f: f
        self.rollout, self.critic_part = compile_if(self.losses.rollout), compile_if(self._critic)
        self.ahead = compile_if(self.losses.ahead)

    def _critic(
        self, critics: Nets, pair: Nets, draws: Draws, ends: tuple, seen: tuple, bounds: Tensor, alpha: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the critics' loss, the moved bounds and y."""
        with torch.no_grad():
            bounds = self.losses.bounds(bounds, seen[1], seen[2], alpha)
            y = self.losses.targets(pair, ends, seen, bounds, alpha)
        return self.losses.critic(critics, draws["obs"], seen[0], y, bounds), bounds, y

    def step(self, name: str, loss: Tensor) -> None:
        """Takes one step of a part's optimiser."""
        part = self.parts[name]
        for tensor, gradient in zip(part, torch.autograd.grad(loss, part)):
            tensor.grad = gradient
        self.adams[name].step()

    def update(self, world: Any, draws: Draws, critic_only: bool = False) -> dict[str, Tensor]:
        """Makes one update, or the critics' part of it, and returns its numbers for checks."""
        alpha = self.log_temperature.detach().exp()
        if critic_only:
            with torch.no_grad():
                ends, seen = self.rollout(self.plain_actor, world, draws, alpha)
        else:
            ends, seen = self.rollout(self.actor, world, draws, alpha)
        plain = tuple(part.detach() for part in ends)
        of_critic, self.bounds, y = self.critic_part(
            self.critics, chosen(self.target, draws["pair"]), draws, plain, seen, self.bounds, alpha
        )
        self.step("critic", of_critic)
        with torch.no_grad():
            torch._foreach_lerp_(self.targets, self.online, TAU)
        found = {"critic_loss": of_critic, "bounds": self.bounds, "target": y, "alive": seen[3], "rewards": seen[1]}
        if critic_only:
            return found
        of_actor = self.ahead(self.plain_critics, ends[1], ends[2], seen[3], self.bounds) - ends[0].mean()
        self.step("actor", of_actor)
        slope = alpha * (draws["noise_action"].shape[-1] - seen[2][0].mean())
        self.log_temperature.grad = slope
        self.adams["temperature"].step()
        gradient = like(self.actor, [tensor.grad for tensor in self.parts["actor"]])
        return found | {"actor_loss": of_actor, "temperature_gradient": slope, "actor_gradient": gradient}


# The whole update as one graph.


def adam_step(
    tensors: list[Tensor], gradients: Sequence[Tensor], moments: tuple[list[Tensor], list[Tensor]], t: Tensor
) -> tuple[list[Tensor], tuple[list[Tensor], list[Tensor]]]:
    """Takes one step of Adam without decay; `t` counts from 1."""
    first = [torch.lerp(m, g, 0.1) for m, g in zip(moments[0], gradients)]
    second = [0.999 * m + 0.001 * g * g for m, g in zip(moments[1], gradients)]
    c1, c2 = 1 - 0.9**t, 1 - 0.999**t
    new = [p - AGENT_LR * (m / c1) / ((v / c2).sqrt() + 1e-8) for p, m, v in zip(tensors, first, second)]
    return new, (first, second)


class Whole:
    """An agent whose update is one function of its state, so that torch.compile sees all of it."""

    def __init__(self, agent: Agent, compiled: bool) -> None:
        self.losses = agent.losses
        self.actor, self.critics, self.target = (
            like(part, [tensor.detach().clone() for tensor in flat(part)])
            for part in (agent.actor, agent.critics, agent.target)
        )
        self.log_temperature, self.bounds = agent.log_temperature.detach().clone(), agent.bounds.clone()
        zeros = lambda part: tuple([torch.zeros_like(tensor) for tensor in flat(part)] for _ in range(2))
        self.moments = [zeros(part) for part in (self.critics, self.actor, self.log_temperature)]
        self.t = torch.zeros(())
        self.function = torch.compile(self._update, dynamic=False) if compiled else self._update

    def state(self) -> tuple:
        """Returns all tensors that an update changes."""
        return self.actor, self.critics, self.target, self.log_temperature, self.bounds, self.moments, self.t

    @torch.no_grad()
    def update(self, world: Any, draws: Draws, critic_only: bool = False) -> dict[str, Tensor]:
        """Makes one update, or the critics' part of it, and returns its numbers for checks."""
        state, found = self.function(self.state(), chosen(self.target, draws["pair"]), world, draws, critic_only)
        self.actor, self.critics, self.target, self.log_temperature, self.bounds, self.moments, self.t = state
        return found

    def _update(self, state: tuple, pair: Nets, world: Any, draws: Draws, critic_only: bool) -> tuple[tuple, dict]:
        actor, critics, target, log_temperature, bounds, moments, t = state
        losses, alpha, t = self.losses, log_temperature.exp(), t + 1
        roll = lambda *tensors: losses.rollout(like(actor, list(tensors)), world, draws, alpha)
        if critic_only:
            ends, seen = roll(*flat(actor))
        else:
            ends, back, seen = torch.func.vjp(roll, *flat(actor), has_aux=True)
        bounds = losses.bounds(bounds, seen[1], seen[2], alpha)
        y = losses.targets(pair, ends, seen, bounds, alpha)

        online = flat(critics)
        loss = lambda tensors: losses.critic(like(critics, list(tensors)), draws["obs"], seen[0], y, bounds)
        gradients, of_critic = torch.func.grad_and_value(loss)(tuple(online))
        online, of_critics = adam_step(online, gradients, moments[0], t)
        critics = like(critics, online)
        target = like(target, [old + TAU * (new - old) for old, new in zip(flat(target), online)])
        found = {"critic_loss": of_critic, "bounds": bounds, "target": y, "alive": seen[3], "rewards": seen[1]}
        kept = moments
        if not critic_only:
            ahead = lambda obs, action: losses.ahead(critics, obs, action, seen[3], bounds)
            (to_obs, to_action), of_ahead = torch.func.grad_and_value(ahead, argnums=(0, 1))(ends[1], ends[2])
            gradients = back((torch.full_like(ends[0], -1 / ends[0].shape[0]), to_obs, to_action))
            stepped, of_actor = adam_step(flat(actor), gradients, moments[1], t)
            slope = alpha * (draws["noise_action"].shape[-1] - seen[2][0].mean())
            (log_temperature,), of_temperature = adam_step([log_temperature], [slope], moments[2], t)
            found |= {"actor_loss": of_ahead - ends[0].mean(), "temperature_gradient": slope}
            found |= {"actor_gradient": like(actor, list(gradients))}
            actor, kept = like(actor, stepped), [of_critics, of_actor, of_temperature]
        else:
            kept = [of_critics, *moments[1:]]
        return (actor, critics, target, log_temperature, bounds, kept, t), found


# The variants.


def agent(form: Callable, compiled: bool = False) -> Agent:
    """Returns a new agent."""
    actor = separate(data.stacked_parameters([OBS, 256, 256, 2 * ACT], 1, "dh/actor"))[0]
    critics = data.stacked_parameters([OBS + ACT, 256, 256, 1], CRITICS, "dh/critics")
    bounds = torch.tensor(np.array([-2.0, 3.0], data.DTYPE))
    return Agent(actor, form(critics), form(critics), bounds, compiled=compiled)


def given_draws() -> Draws:
    """Returns fixed draws, which every update uses."""
    return {name: torch.tensor(part) for name, part in data.dh_draws().items()}


def by_autograd(critic_only: bool, compiled: bool, members: Callable, critics: Callable) -> Runner:
    """Updates with one batch and its draws."""
    own, model, draws = agent(critics, compiled), world(members), given_draws()
    return Runner(lambda: own.update(model, draws, critic_only), state=lambda: own)


def as_one_graph(critic_only: bool, members: Callable, critics: Callable) -> Runner:
    """Updates with one batch and its draws, each update one compiled graph."""
    own, model, draws = Whole(agent(critics), compiled=True), world(members), given_draws()
    return Runner(lambda: own.update(model, draws, critic_only), state=lambda: own)


def variants(critic_only: bool) -> dict[str, Callable[[], Runner]]:
    """Returns all variants: ways by forms of members and critics."""
    ways = {
        "eager": partial(by_autograd, critic_only, False),
        "compile": partial(by_autograd, critic_only, True),
        "compile whole": partial(as_one_graph, critic_only),
    }
    return {
        f"{way}, {members}, {critics} critics": partial(build, of_members, of_critics)
        for way, build in ways.items()
        for members, of_members in {"baddbmm": stacked, f"{BLOCKS} × addmm": separate}.items()
        for critics, of_critics in {"separate": separate, "batched": stacked}.items()
    }
