"""SAC's update as one pure function of its state, so that torch.compile sees losses, gradients, Adam and targets
together.

The arithmetic is that of `torch_nets.Sac.update`. The networks are those of a `Sac`, called with the state's
parameters.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad_and_value

from common import AGENT_LR, DISCOUNT, TAU
from torch_nets import Sac

Parameters = dict[str, Tensor]


@dataclass
class Moments:
    """Adam's moments of one group of parameters."""

    first: Parameters
    second: Parameters


def fresh(parameters: Parameters) -> Moments:
    """Zero moments."""
    return Moments(*({k: torch.zeros_like(p) for k, p in parameters.items()} for _ in range(2)))


def adam_step(parameters: Parameters, gradients: Parameters, moments: Moments, t: Tensor) -> tuple[Parameters, Moments]:
    """Takes one step of Adam without decay; `t` counts from 1."""
    first = {k: torch.lerp(moments.first[k], g, 0.1) for k, g in gradients.items()}
    second = {k: 0.999 * moments.second[k] + 0.001 * g * g for k, g in gradients.items()}
    c1, c2 = 1 - 0.9**t, 1 - 0.999**t
    stepped = {k: p - AGENT_LR * (first[k] / c1) / ((second[k] / c2).sqrt() + 1e-8) for k, p in parameters.items()}
    return stepped, Moments(first, second)


def parts(state: tuple) -> list[Parameters]:
    """Returns all tensors of an agent's state, group by group."""
    *structures, moments, t = state
    return [*structures, *(part for each in moments for part in (each.first, each.second)), {"t": t}]


class WholeUpdate:
    """A SAC agent whose update is one graph."""

    def __init__(self, agent: Sac, compiled: bool) -> None:
        self.agent = agent
        self.actor = {k: p.detach().clone() for k, p in agent.actor.named_parameters()}
        self.critic = {k: p.detach().clone() for k, p in agent.critic.named_parameters()}
        self.target = {k: p.clone() for k, p in self.critic.items()}
        self.temperature = {"log": agent.log_temperature.detach().clone()}
        self.moments = [fresh(p) for p in (self.critic, self.actor, self.temperature)]
        self.t = torch.zeros(())
        self.step = torch.compile(self._step, dynamic=False) if compiled else self._step

    @torch.no_grad()
    def act(self, obs: Tensor, noise: Tensor) -> Tensor:
        """`[B, O]`, `[B, A] -> [B, A]`; without noise the mean action."""
        return functional_call(self.agent.actor, self.actor, (obs, noise))[0]

    def state(self) -> tuple:
        """Returns all tensors that an update changes."""
        return self.critic, self.actor, self.temperature, self.target, self.moments, self.t

    def update(self, batch: dict[str, Tensor], noise_next: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Makes one update. Returns the losses of critic, actor and temperature before it."""
        with torch.no_grad():
            state, losses = self.step(self.state(), batch, noise_next, noise)
            self.critic, self.actor, self.temperature, self.target, self.moments, self.t = state
        return losses

    @torch.no_grad()
    def update_in_place(self, batch: dict[str, Tensor], noise_next: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Makes an update that overwrites the tensors of the state, because CUDA graphs identify a tensor by its
        address.
        """
        state = self.state()
        new, losses = self._step(state, batch, noise_next, noise)
        for old, fresh in zip(parts(state), parts(new), strict=True):
            for name, tensor in old.items():
                tensor.copy_(fresh[name])
        return losses

    def _step(self, state: tuple, batch: dict[str, Tensor], noise_next: Tensor, noise: Tensor) -> tuple:
        critic, actor, temperature, target, moments, t = state
        agent, t = self.agent, t + 1
        alpha = temperature["log"].exp()

        action, log_prob = functional_call(agent.actor, actor, (batch["next_obs"], noise_next))
        value = torch.min(*functional_call(agent.target, target, (batch["next_obs"], action))) - alpha * log_prob
        y = batch["reward"] + batch["not_terminated"] * DISCOUNT * value

        def critic_loss(parameters: Parameters) -> Tensor:
            first, second = functional_call(agent.critic, parameters, (batch["obs"], batch["action"]))
            return F.mse_loss(first, y) + F.mse_loss(second, y)

        gradients, of_critic = grad_and_value(critic_loss)(critic)
        critic, critic_moments = adam_step(critic, gradients, moments[0], t)

        def actor_loss(parameters: Parameters) -> tuple[Tensor, Tensor]:
            action, log_prob = functional_call(agent.actor, parameters, (batch["obs"], noise))
            values = functional_call(agent.critic, critic, (batch["obs"], action))
            return (alpha * log_prob - torch.min(*values)).mean(), log_prob

        gradients, (of_actor, log_prob) = grad_and_value(actor_loss, has_aux=True)(actor)
        actor, actor_moments = adam_step(actor, gradients, moments[1], t)

        gradient = -(log_prob + agent.target_entropy).mean()
        of_temperature = (temperature["log"] * gradient).sum()
        temperature, temperature_moments = adam_step(temperature, {"log": gradient.reshape(1)}, moments[2], t)

        target = {k: p + TAU * (critic[k] - p) for k, p in target.items()}
        moments = [critic_moments, actor_moments, temperature_moments]
        return (critic, actor, temperature, target, moments, t), (of_critic, of_actor, of_temperature)
