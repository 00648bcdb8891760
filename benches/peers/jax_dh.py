"""JAX's update of the agent that learns through the model (DHMBPO): a rollout that gradients flow through.

| symbol | shape | meaning |
|---|---|---|
| s | `[B, O]` | normalised states; s_0 is taken from imagined states |
| m_k | `[B]` | 1 while a row is alive at step k, else 0 |
| r_k, l_k | `[B]` | reward, log-probability of the action |
| members | `[H, E]` | the member that predicts each block of `B / E` rows, one permutation per step |

    J = Σ_{k<H} γ^k m_k (r_k - α l_k) - γ^H m_H α l_H
    y = J + α l_0 + γ^H m_H clip(min of two targets at (s_H, a_H))
    critics: Σ_n mean (Q_n(s_0, a_0) - y)²;   actor: -mean (J + γ^H m_H mean_n Q_n(s_H, a_H)) with the updated critics

Q = centre + half the width × network, where the bounds follow the quantiles of r_k - α l_k over all steps and rows.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import data
from common import (
    ACT, AGENT_LR, BLOCKS, BOUNDS_RATE, CRITICS, HORIZON, LAYER_NORM_EPS, LONG_DISCOUNT, OBS, POOL, QUANTILES, ROWS,
    TARGET_CRITICS, TAU, Runner,
)  # fmt: skip
from jax_nets import Tree, batched, outputs, perceptron, separate

#: Number of updates in one compiled loop, and of updates that are dispatched before a wait.
SCAN = 10
NORMS = (None, LAYER_NORM_EPS, LAYER_NORM_EPS)

adam = optax.adam(AGENT_LR)
silu, softplus = jax.nn.silu, jax.nn.softplus


# The model.


def by_member(net: Tree, x: jax.Array, members: jax.Array, norms: Sequence[float | None] = ()) -> jax.Array:
    """`[B, I] -> [B, C]`: passes block j of the rows through the member `members[j]`."""
    rows = x.reshape(len(members), -1, x.shape[-1])
    out = outputs(net, rows[jnp.argsort(members)], silu, norms)
    return out[members].reshape(x.shape[0], -1)


def hopper_ends(obs: jax.Array) -> jax.Array:
    """Hopper's termination rule, raw states `[B, O] -> [B]`."""
    healthy = (obs[:, 0] > 0.7) & (jnp.abs(obs[:, 1]) < 0.2) & (jnp.abs(obs[:, 1:]) < 100.0).all(-1)
    return ~healthy


def gaussian_step(
    world: Tree, obs: jax.Array, action: jax.Array, noise: jax.Array, members: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns reward, next state and termination: a sampled change, and the mean of the reward, which is the last
    channel.
    """
    out = by_member(world["net"], jnp.concatenate([obs, action], -1), members)
    mean, logvar = jnp.split(out, 2, -1)
    logvar = world["max_logvar"] - softplus(world["max_logvar"] - logvar)
    logvar = world["min_logvar"] + softplus(logvar - world["min_logvar"])
    std, centre = world["target_std"], world["target_mean"]
    change = (mean[:, :-1] + jnp.exp(0.5 * logvar[:, :-1]) * noise) * std[:-1] + centre[:-1]
    reward = mean[:, -1] * std[-1] + centre[-1]
    obs = obs + change / world["obs_std"]
    return reward, obs, hopper_ends(obs * world["obs_std"] + world["obs_mean"])


# The agent.


def sample(actor: Tree, obs: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the action `[B, A]` and its log-probability `[B]`."""
    mean, raw = jnp.split(perceptron(actor, obs, silu), 2, -1)
    std = softplus(raw) + 1e-5
    u = mean + std * noise
    gaussian = -0.5 * noise * noise - jnp.log(std) - 0.5 * np.log(2 * np.pi)
    squash = 2 * (np.log(2) - u - softplus(-2 * u))
    return jnp.tanh(u), (gaussian - squash).sum(-1)


def values(critics: Tree, obs: jax.Array, action: jax.Array, bounds: jax.Array, norms: Sequence = NORMS) -> jax.Array:
    """Returns the values of all critics, `[N, B]`."""
    net = outputs(critics, jnp.concatenate([obs, action], -1), silu, norms)[..., 0]
    return (bounds[0] + bounds[1]) / 2 + (bounds[1] - bounds[0]) / 2 * net


def stacked(critics: Tree) -> Tree:
    """Returns either layout as one stack."""
    return critics if isinstance(critics[0], tuple) else jax.tree.map(lambda *nets: jnp.stack(nets), *critics)


def quantiles(x: jax.Array) -> jax.Array:
    """Returns both quantiles of all numbers, with linear interpolation. Takes a few numbers from either end instead of
    sorting all.
    """
    x = x.reshape(-1)
    found = []
    for q, sign in zip(QUANTILES, (-1, 1)):
        place = q * (x.size - 1)
        low = int(np.floor(place + 1e-9))
        share = place - low
        if sign < 0:
            ends = -lax.top_k(-x, min(low + 2, x.size))[0]
            a, b = ends[low], ends[min(low + 1, x.size - 1)]
        else:
            ends = lax.top_k(x, x.size - low)[0]
            a, b = ends[-1], ends[max(len(ends) - 2, 0)]
        found.append(a + share * (b - a))
    return jnp.stack(found)


def state(layout: Callable) -> Tree:
    """Returns networks and optimisers, with no buffer used twice. The targets are one stack in either layout."""
    actor = separate(data.stacked_parameters([OBS, 256, 256, 2 * ACT], 1, "dh/actor"))[0]
    critics = data.stacked_parameters([OBS + ACT, 256, 256, 1], CRITICS, "dh/critics")
    critic, log_temperature = layout(critics), jnp.array(np.log(data.DTYPE(0.1)))
    return {
        "actor": actor,
        "critic": critic,
        "target": batched(critics),
        "log_temperature": log_temperature,
        "bounds": jnp.array(np.array([-2.0, 3.0], data.DTYPE)),
        "adam": [adam.init(part) for part in (critic, actor, log_temperature)],
    }


def world(layout: Callable, members: int = BLOCKS) -> Tree:
    """Returns the model's parameters."""
    parts = data.dh_world(members)
    return {"net": layout(parts["net"])} | {name: jnp.array(part) for name, part in parts.items() if name != "net"}


def update(
    state: Tree,
    world: Tree,
    draws: Tree,
    critic_only: bool = False,
    step: Callable = gaussian_step,
    norms: Sequence[float | None] = NORMS,
) -> tuple[Tree, Tree]:
    """Makes one update, or the critics' part of it, and returns its numbers for checks."""
    critic, actor, log_temperature = state["critic"], state["actor"], state["log_temperature"]
    adam_critic, adam_actor, adam_temperature = state["adam"]
    alpha, horizon, acts = jnp.exp(log_temperature), len(draws["members"]), draws["noise_action"].shape[-1]

    def rollout(actor: Tree) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        obs, alive, total = draws["obs"], jnp.ones(len(draws["obs"]), draws["obs"].dtype), 0.0
        rewards, log_probs, first = [], [], None
        for k in range(horizon):
            action, log_prob = sample(actor, obs, draws["noise_action"][k])
            first = action if first is None else first
            reward, obs, ends = step(world, obs, action, draws["noise_model"][k], draws["members"][k])
            total = total + LONG_DISCOUNT**k * alive * (reward - alpha * log_prob)
            alive = jnp.where(ends, 0.0, alive)
            rewards.append(reward)
            log_probs.append(log_prob)
        action, log_prob = sample(actor, obs, draws["noise_action"][horizon])
        tail = LONG_DISCOUNT**horizon * alive
        return (total - tail * alpha * log_prob, obs, action), (first, jnp.stack(rewards), jnp.stack(log_probs), tail)

    if critic_only:
        (total, obs, action), seen = rollout(actor)
    else:
        (total, obs, action), back, seen = jax.vjp(rollout, actor, has_aux=True)
    first, rewards, log_probs, tail = seen

    bounds = state["bounds"]
    bounds = bounds + BOUNDS_RATE * (quantiles(rewards - alpha * log_probs) / (1 - LONG_DISCOUNT) - bounds)
    pair = jax.tree.map(lambda part: part[draws["pair"]], state["target"])
    least = values(pair, obs, action, bounds, norms).min(0)
    y = total + alpha * log_probs[0] + tail * jnp.maximum(jnp.minimum(least, bounds[1]), bounds[0])

    def critic_loss(critic: Tree) -> jax.Array:
        return jnp.square(values(critic, draws["obs"], first, bounds, norms) - y).mean(1).sum()

    of_critic, critic_gradient = jax.value_and_grad(critic_loss)(critic)
    change, adam_critic = adam.update(critic_gradient, adam_critic)
    critic = optax.apply_updates(critic, change)
    target = jax.tree.map(lambda old, new: old + TAU * (new - old), state["target"], stacked(critic))
    seen = {"critic_loss": of_critic, "bounds": bounds, "target": y, "alive": tail, "rewards": rewards}

    if not critic_only:
        ahead = lambda obs, action: -(tail * values(critic, obs, action, bounds, norms).mean(0)).mean()
        of_ahead, (to_obs, to_action) = jax.value_and_grad(ahead, (0, 1))(obs, action)
        (gradient,) = back((jnp.full_like(total, -1 / len(total)), to_obs, to_action))
        change, adam_actor = adam.update(gradient, adam_actor)
        actor = optax.apply_updates(actor, change)
        slope = alpha * (acts - log_probs[0].mean())
        change, adam_temperature = adam.update(slope, adam_temperature)
        log_temperature = optax.apply_updates(log_temperature, change)
        seen |= {"actor_loss": of_ahead - total.mean(), "temperature_gradient": slope, "actor_gradient": gradient}

    kept = {"actor": actor, "critic": critic, "target": target, "log_temperature": log_temperature, "bounds": bounds}
    return kept | {"adam": [adam_critic, adam_actor, adam_temperature]}, seen


# The variants.


def dispatched(critic_only: bool, members: Callable, critics: Callable) -> Runner:
    """Updates with one batch and its draws, dispatched ahead of their completion."""
    one = jax.jit(lambda *args: update(*args, critic_only=critic_only)[0], donate_argnums=0)
    draws = {name: jnp.array(values) for name, values in data.dh_draws().items()}
    model, held = world(members), [state(critics)]

    def call() -> None:
        for _ in range(SCAN):
            held[0] = one(held[0], model, draws)
        jax.block_until_ready(held[0])

    return Runner(call, SCAN, state=lambda: held[0])


def drawn(key: jax.Array, pool: jax.Array) -> Tree:
    """Returns the draws of one update."""
    keys = jax.random.split(key, 5)
    orders = jax.vmap(lambda key: jax.random.permutation(key, BLOCKS))(jax.random.split(keys[3], HORIZON))
    return {
        "obs": pool[jax.random.randint(keys[0], (ROWS,), 0, POOL)],
        "noise_action": jax.random.normal(keys[1], (HORIZON + 1, ROWS, ACT)),
        "noise_model": jax.random.normal(keys[2], (HORIZON, ROWS, OBS)),
        "members": orders,
        "pair": jax.random.permutation(keys[4], CRITICS)[:TARGET_CRITICS],
    }


def scanned(critic_only: bool, members: Callable, critics: Callable) -> Runner:
    """Updates in a compiled loop, each with its own draws."""

    @partial(jax.jit, donate_argnums=0)
    def many(state: Tree, model: Tree, key: jax.Array, pool: jax.Array) -> Tree:
        def body(state: Tree, key: jax.Array) -> tuple[Tree, None]:
            return update(state, model, drawn(key, pool), critic_only)[0], None

        return lax.scan(body, state, jax.random.split(key, SCAN))[0]

    model, pool, held = world(members), jnp.array(data.dh_pool()), [state(critics)]
    keys = iter(jax.random.split(jax.random.key(0), 100_000))

    def call() -> None:
        held[0] = many(held[0], model, next(keys), pool)
        jax.block_until_ready(held[0])

    return Runner(call, SCAN, state=lambda: held[0])


def variants(critic_only: bool) -> dict[str, Callable[[], Runner]]:
    """Returns all variants: ways by layouts of members and critics."""
    return {
        f"{way}, {'batched' if members is batched else f'{BLOCKS} dots'}, {name} critics": partial(
            build, critic_only, members, critics
        )
        for way, build in {"jit": dispatched, f"scan of {SCAN}": scanned}.items()
        for members in (separate, batched)
        for name, critics in {"separate": separate, "stacked": batched}.items()
    }
