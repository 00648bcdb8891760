"""The networks, losses and updates of the PyTorch programs: the ensemble with its two losses, and SAC.

| symbol | shape | meaning |
|---|---|---|
| x, y | `[E, B, O + A]`, `[E, B, O + 1]` | the model's inputs; its targets: change of the observation, reward |
| w | `[E, B, O]` | VaGraM's weights, the mean over critics of squared value gradients |
| noise_next, noise | `[B, A]` | standard normals for the actions at s' and at s |
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import AGENT_LR, BOUNDS_WEIGHT, DISCOUNT, LOGVAR_BOUNDS, MODEL_LR, TAU, WEIGHT_DECAY
from data import Layers


def parameter(values: np.ndarray) -> nn.Parameter:
    """Returns a parameter with a copy of the numbers."""
    return nn.Parameter(torch.tensor(values))


def adam(parameters: Iterable[Tensor], lr: float, decay: float = 0.0, form: str = "fused") -> torch.optim.Adam:
    """Returns Adam with coupled decay. `form` is `fused`, `foreach`, `loop`, or `capturable`, which is fused and fit
    for a CUDA graph.
    """
    fused, capturable = form in ("fused", "capturable"), form == "capturable"
    return torch.optim.Adam(
        parameters, lr=lr, weight_decay=decay, fused=fused, foreach=form == "foreach", capturable=capturable
    )


class Ensemble(nn.Module):
    """`E` perceptrons with SiLU. `form` is the form of the members' products.

    * `baddbmm`: one batched product per layer, weights `[E, I, O]`.
    * `addmm`: one product per member and layer, with separate weights for every member.
    * `linear`: as `addmm`, with biases `[O]`, which a GPU's library adds as it writes the product.

    `inplace` overwrites the activations; only for predictions.
    """

    def __init__(self, layers: Layers, form: str = "baddbmm", gaussian: bool = True, inplace: bool = False) -> None:
        super().__init__()
        self.form, self.inplace = form, inplace
        weights, biases = layers
        self.members, self.depth = len(weights[0]), len(weights)
        if form == "baddbmm":
            self.weights = nn.ParameterList([parameter(w) for w in weights])
            self.biases = nn.ParameterList([parameter(b) for b in biases])
        else:
            self.weights = nn.ParameterList([parameter(w) for member in zip(*weights) for w in member])
            flat = form == "linear"
            self.biases = nn.ParameterList(
                [parameter(b[0] if flat else b) for member in zip(*biases) for b in member]
            )
        channels = weights[-1].shape[-1] // 2
        if gaussian:
            low, high = LOGVAR_BOUNDS
            self.min_logvar = nn.Parameter(torch.full((channels,), low))
            self.max_logvar = nn.Parameter(torch.full((channels,), high))

    def forward(self, x: Tensor) -> Tensor:
        """`[E, B, I] -> [E, B, C]`."""
        if self.form == "baddbmm":
            for n, (weight, bias) in enumerate(zip(self.weights, self.biases)):
                x = torch.baddbmm(bias, x, weight)
                x = F.silu(x, inplace=self.inplace) if n < self.depth - 1 else x
            return x
        return torch.stack([self.member(e, rows) for e, rows in enumerate(x.unbind(0))])

    def member(self, e: int, x: Tensor) -> Tensor:
        """Returns one member's output, `[B, I] -> [B, C]`."""
        for n in range(self.depth):
            if self.form == "baddbmm":
                weight, bias = self.weights[n][e], self.biases[n][e]
            else:
                weight, bias = self.weights[e * self.depth + n], self.biases[e * self.depth + n]
            x = torch.addmm(bias, x, weight)
            x = F.silu(x, inplace=self.inplace) if n < self.depth - 1 else x
        return x

    def bounded(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and softly bounded log-variance of the Gaussian head, `[..., C] -> 2 × [..., C / 2]`."""
        mean, logvar = out.chunk(2, -1)
        logvar = self.max_logvar - F.softplus(self.max_logvar - logvar)
        return mean, self.min_logvar + F.softplus(logvar - self.min_logvar)

    def likelihood_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Gaussian likelihood: mean over rows and channels, sum over members, plus the penalty on the bounds."""
        mean, logvar = self.bounded(self(x))
        loss = ((mean - y).square() * torch.exp(-logvar) + logvar).mean((1, 2)).sum()
        return loss + BOUNDS_WEIGHT * (self.max_logvar.sum() - self.min_logvar.sum())

    def weighted_loss(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """VaGraM with a deterministic head: mean over rows, sum over members."""
        error = (self(x) - y).square()
        rows = (w * error[..., :-1]).mean(-1) + error[..., -1]
        return rows.mean(1).sum()


def perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Returns linear layers with ReLU between them."""
    modules: list[nn.Module] = []
    for i, o in zip(sizes, sizes[1:]):
        modules += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def load_perceptron(net: nn.Sequential, layers: Layers, member: int) -> None:
    """Copies the numbers of one member to a perceptron."""
    linears = [module for module in net if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for linear, weight, bias in zip(linears, *layers, strict=True):
            linear.weight.copy_(torch.tensor(weight[member].T))
            linear.bias.copy_(torch.tensor(bias[member, 0]))


class Actor(nn.Module):
    """A squashed Gaussian policy."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.net = perceptron([w.shape[1] for w in layers[0]] + [layers[0][-1].shape[2]])
        load_perceptron(self.net, layers, 0)

    def forward(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the action `[B, A]` and its log-probability `[B, 1]`."""
        mean, log_std = self.net(obs).chunk(2, -1)
        log_std = log_std.clamp(-20, 2)
        u = mean + log_std.exp() * noise
        gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        squash = 2 * (math.log(2) - u - F.softplus(-2 * u))
        return torch.tanh(u), (gaussian - squash).sum(-1, keepdim=True)

    def mean_action(self, obs: Tensor) -> Tensor:
        """`[B, O] -> [B, A]`."""
        return torch.tanh(self.net(obs).chunk(2, -1)[0])


class Critic(nn.Module):
    """The critics' action values: `separate` perceptrons, or `batched` products."""

    def __init__(self, layers: Layers, form: str = "separate") -> None:
        super().__init__()
        self.form = form
        weights, biases = layers
        self.heads = len(weights[0])
        if form == "batched":
            self.weights = nn.ParameterList([parameter(w) for w in weights])
            self.biases = nn.ParameterList([parameter(b) for b in biases])
        else:
            sizes = [w.shape[1] for w in weights] + [weights[-1].shape[2]]
            self.nets = nn.ModuleList([perceptron(sizes) for _ in range(self.heads)])
            for head, net in enumerate(self.nets):
                load_perceptron(net, layers, head)

    def forward(self, obs: Tensor, action: Tensor) -> tuple[Tensor, ...]:
        """Returns one `[B, 1]` per critic."""
        x = torch.cat([obs, action], -1)
        if self.form == "separate":
            return tuple(net(x) for net in self.nets)
        x = x.expand(self.heads, -1, -1)
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, x, weight)
            x = F.relu(x) if n < len(self.weights) - 1 else x
        return x.unbind(0)


class Sac:
    """A SAC agent with its optimisers."""

    def __init__(
        self,
        actor: Layers,
        critic: Layers,
        form: str = "separate",
        optimizer: str = "fused",
        compiled: bool = False,
        initial_temperature: float = 1.0,
    ) -> None:
        self.actor = Actor(actor)
        self.critic, self.target = Critic(critic, form), Critic(critic, form)
        self.log_temperature = torch.full((1,), math.log(initial_temperature), requires_grad=True)
        self.target_entropy = -actor[0][-1].shape[2] / 2
        self.actor_adam = adam(self.actor.parameters(), AGENT_LR, form=optimizer)
        self.critic_adam = adam(self.critic.parameters(), AGENT_LR, form=optimizer)
        self.temperature_adam = adam([self.log_temperature], AGENT_LR, form=optimizer)
        self.critic_parameters, self.target_parameters = list(self.critic.parameters()), list(self.target.parameters())
        wrap: Callable = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.critic_loss, self.actor_loss = wrap(self._critic_loss), wrap(self._actor_loss)

    @torch.no_grad()
    def act(self, obs: Tensor, noise: Tensor) -> Tensor:
        """`[B, O]`, `[B, A] -> [B, A]`; without noise the mean action."""
        return self.actor(obs, noise)[0]

    def _critic_loss(self, batch: dict[str, Tensor], noise_next: Tensor, temperature: Tensor) -> Tensor:
        with torch.no_grad():
            action, log_prob = self.actor(batch["next_obs"], noise_next)
            value = torch.min(*self.target(batch["next_obs"], action)) - temperature * log_prob
            y = batch["reward"] + batch["not_terminated"] * DISCOUNT * value
        first, second = self.critic(batch["obs"], batch["action"])
        return F.mse_loss(first, y) + F.mse_loss(second, y)

    def _actor_loss(self, obs: Tensor, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob = self.actor(obs, noise)
        loss = (temperature * log_prob - torch.min(*self.critic(obs, action))).mean()
        return loss, log_prob.detach()

    def update(self, batch: dict[str, Tensor], noise_next: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Makes one update. Returns the losses of critic, actor and temperature before it."""
        temperature = self.log_temperature.detach().exp()
        critic_loss = self.critic_loss(batch, noise_next, temperature)
        self.critic_adam.zero_grad(set_to_none=True)
        critic_loss.backward()
        self.critic_adam.step()

        for p in self.critic_parameters:
            p.requires_grad_(False)
        actor_loss, log_prob = self.actor_loss(batch["obs"], noise, temperature)
        self.actor_adam.zero_grad(set_to_none=True)
        actor_loss.backward()
        self.actor_adam.step()
        for p in self.critic_parameters:
            p.requires_grad_(True)

        temperature_loss = -(self.log_temperature * (log_prob + self.target_entropy).mean()).sum()
        self.temperature_adam.zero_grad(set_to_none=True)
        temperature_loss.backward()
        self.temperature_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.target_parameters, self.critic_parameters, TAU)
        return critic_loss.detach(), actor_loss.detach(), temperature_loss.detach()


def value_weights(critics: Sequence[Critic], actor: Actor, states: Tensor, chunk: int = 2048) -> Tensor:
    """Mean over critics of the squared gradient of Q_n(s, tanh mu(s)) at a fixed action, `[N, O] -> [N, O]`."""
    parts = []
    for rows in states.split(chunk):
        with torch.no_grad():
            action = actor.mean_action(rows)
        squares = []
        for critic in critics:
            # A separate leaf for every critic, so that gradients of different critics are not added up.
            for head in range(critic.heads):
                leaf = rows.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(critic(leaf, action)[head].sum(), leaf)
                squares.append(gradient.square())
        parts.append(torch.stack(squares).mean(0))
    return torch.cat(parts)


def model_adam(model: Ensemble, form: str = "fused") -> torch.optim.Adam:
    """The model's optimiser."""
    return adam(model.parameters(), MODEL_LR, WEIGHT_DECAY, form)
