"""JAX's variants of the fixed workloads.

    python jax_peer.py [--threads 2] [--seconds 2] [workload ...]
    python jax_peer.py --threads 2 --serve

Layouts: `batched` (`stacked` critics), one batched product a layer; `7 dots` (`separate` critics), one product a layer
and network, every network with parameters of its own.
Ways: `jit`, one compiled step with donated state, dispatched ahead of its completion; `scan`, many steps in one
compiled loop that gathers its own batches. The rollouts' ways are in `jax_rollout.py`, those of the agent that learns
through the model in `jax_dh.py`.
"""

import os

import common

if __name__ == "__main__":
    ARGUMENTS = common.arguments(__doc__)
    common.set_threads(ARGUMENTS.threads)
    os.environ["JAX_PLATFORMS"] = "cpu"
    if ARGUMENTS.threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import data
import jax_dh
import jax_rollout
from common import (
    ACT, AGENT_LR, BOUNDS_WEIGHT, DISCOUNT, EPOCHS, GEMM_SIZES, GEMM_SMALL, LOGVAR_BOUNDS, MEMBERS, MODEL_LR, REPLAY,
    ROWS, ROLLOUTS, STEPS_AN_EPOCH, TARGETS, TAU, WEIGHT_DECAY, Runner, Variants,
)  # fmt: skip
from jax_nets import Tree, batched, outputs, perceptron, separate

#: Number of steps in one compiled loop, if a call is not a whole training call.
SCAN = 20
#: Number of rows of the replay that scanned SAC updates sample from.
AGENT_REPLAY = 100_000

model_adam = optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.adam(MODEL_LR))
agent_adam = optax.adam(AGENT_LR)


# The model.


def model_parameters(layers: data.Layers, layout: Callable, gaussian: bool = True) -> Tree:
    """Returns the ensemble's parameters, with log-variance bounds if it has a Gaussian head."""
    parameters = {"net": layout(layers)}
    if gaussian:
        channels = layers[0][-1].shape[-1] // 2
        low, high = LOGVAR_BOUNDS
        bounds = {"min_logvar": low, "max_logvar": high}
        # Converted from numpy, so that the first step does not change the type: another type would be compiled again.
        parameters |= {name: jnp.array(np.full(channels, value, data.DTYPE)) for name, value in bounds.items()}
    return parameters


def likelihood_loss(parameters: Tree, x: jax.Array, y: jax.Array) -> jax.Array:
    """Gaussian likelihood: mean over rows and channels, sum over members, plus the penalty on the bounds."""
    mean, logvar = jnp.split(outputs(parameters["net"], x, jax.nn.silu), 2, -1)
    low, high, softplus = parameters["min_logvar"], parameters["max_logvar"], jax.nn.softplus
    logvar = high - softplus(high - logvar)
    logvar = low + softplus(logvar - low)
    loss = (jnp.square(mean - y) * jnp.exp(-logvar) + logvar).mean((1, 2)).sum()
    return loss + BOUNDS_WEIGHT * (high.sum() - low.sum())


def weighted_loss(parameters: Tree, x: jax.Array, y: jax.Array, w: jax.Array) -> jax.Array:
    """VaGraM with a deterministic head: mean over rows, sum over members."""
    error = jnp.square(outputs(parameters["net"], x, jax.nn.silu) - y)
    rows = (w * error[..., :-1]).mean(-1) + error[..., -1]
    return rows.mean(1).sum()


def model_update(loss: Callable, carry: Tree, *batch: jax.Array) -> tuple[Tree, jax.Array]:
    """Makes one gradient step; the carry is (parameters, Adam's state)."""
    parameters, state = carry
    value, gradient = jax.value_and_grad(loss)(parameters, *batch)
    step, state = model_adam.update(gradient, state, parameters)
    return (optax.apply_updates(parameters, step), state), value


def fresh(parameters: Tree) -> Tree:
    """Returns the carry of a first step."""
    return parameters, model_adam.init(parameters)


# The agent.


def sample(actor: Tree, obs: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the action `[B, A]` and its log-probability `[B, 1]`."""
    mean, log_std = jnp.split(perceptron(actor, obs), 2, -1)
    log_std = jnp.clip(log_std, -20, 2)
    u = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * noise * noise - log_std - 0.5 * np.log(2 * np.pi)
    squash = 2 * (np.log(2) - u - jax.nn.softplus(-2 * u))
    return jnp.tanh(u), (gaussian - squash).sum(-1, keepdims=True)


def action_values(critic: Tree, obs: jax.Array, action: jax.Array) -> jax.Array:
    """Returns the values of all critics, `[heads, B, 1]`."""
    return outputs(critic, jnp.concatenate([obs, action], -1), jax.nn.relu)


def agent_state(layout: Callable) -> Tree:
    """Returns networks and optimisers, with no buffer used twice."""
    actor = [(jnp.array(w[0]), jnp.array(b[0])) for w, b in zip(*data.actor_parameters())]
    critic, target = layout(data.critic_parameters()), layout(data.critic_parameters())
    log_temperature = jnp.zeros(())
    optimisers = [agent_adam.init(p) for p in (critic, actor, log_temperature)]
    return {"actor": actor, "critic": critic, "target": target, "log_temperature": log_temperature, "adam": optimisers}


def sac_update(state: Tree, batch: Tree, noise_next: jax.Array, noise: jax.Array) -> tuple[Tree, Tree]:
    """Makes one update. Returns the losses of critic, actor and temperature before it."""
    critic, actor, log_temperature = state["critic"], state["actor"], state["log_temperature"]
    adam_critic, adam_actor, adam_temperature = state["adam"]
    alpha = jnp.exp(log_temperature)

    action, log_prob = sample(actor, batch["next_obs"], noise_next)
    value = action_values(state["target"], batch["next_obs"], action).min(0) - alpha * log_prob
    y = batch["reward"] + batch["not_terminated"] * DISCOUNT * value

    def critic_loss(critic: Tree) -> jax.Array:
        return jnp.square(action_values(critic, batch["obs"], batch["action"]) - y).mean((1, 2)).sum()

    of_critic, gradient = jax.value_and_grad(critic_loss)(critic)
    step, adam_critic = agent_adam.update(gradient, adam_critic)
    critic = optax.apply_updates(critic, step)

    def actor_loss(actor: Tree) -> tuple[jax.Array, jax.Array]:
        action, log_prob = sample(actor, batch["obs"], noise)
        return (alpha * log_prob - action_values(critic, batch["obs"], action).min(0)).mean(), log_prob

    (of_actor, log_prob), gradient = jax.value_and_grad(actor_loss, has_aux=True)(actor)
    step, adam_actor = agent_adam.update(gradient, adam_actor)
    actor = optax.apply_updates(actor, step)

    gradient = -(log_prob - ACT).mean()
    of_temperature = log_temperature * gradient
    step, adam_temperature = agent_adam.update(gradient, adam_temperature)
    log_temperature = optax.apply_updates(log_temperature, step)

    target = jax.tree.map(lambda old, new: old + TAU * (new - old), state["target"], critic)
    adam = [adam_critic, adam_actor, adam_temperature]
    state = {"actor": actor, "critic": critic, "target": target, "log_temperature": log_temperature, "adam": adam}
    return state, (of_critic, of_actor, of_temperature)


def value_weights(critics: Tree, actor: Tree, states: jax.Array) -> jax.Array:
    """Mean over critics of the squared gradient of Q_n(s, tanh mu(s)) at a fixed action, `[N, O] -> [N, O]`."""
    action = jnp.tanh(jnp.split(perceptron(actor, states), 2, -1)[0])

    def gradient(head: Tree) -> jax.Array:
        return jax.grad(lambda s: perceptron(head, jnp.concatenate([s, action], -1)).sum())(states)

    return jnp.stack([jnp.square(gradient(head)) for head in critics]).mean(0)


def value_heads() -> tuple[Tree, Tree]:
    """Returns two critics and two targets, and the actor."""
    critics = [head for name in ("critic", "target") for head in separate(data.critic_parameters(name))]
    return critics, separate(data.actor_parameters())[0]


# The variants.


def gemm(n: int) -> Runner:
    """Square product."""
    a, b = jnp.array(data.normals("a", n, n)), jnp.array(data.normals("b", n, n))
    product = jax.jit(jnp.matmul)
    return Runner(lambda: product(a, b).block_until_ready(), flops=2 * n**3)


def repeated(step: Callable[[Tree], Tree], state: Tree, steps: int, calls: int = 1) -> Runner:
    """Returns a call that dispatches `step` `calls` times and then waits; the state is passed from step to step."""
    held = [state]

    def call() -> None:
        for _ in range(calls):
            held[0] = step(held[0])
        jax.block_until_ready(held[0])

    return Runner(call, steps * calls, state=lambda: held[0])


def model_jit(layout: Callable) -> Runner:
    """Gradient steps on one batch, dispatched ahead of their completion."""
    x, y = map(jnp.array, data.model_batch())
    step = jax.jit(lambda carry, x, y: model_update(likelihood_loss, carry, x, y)[0], donate_argnums=0)
    carry = fresh(model_parameters(data.ensemble_parameters(2 * TARGETS), layout))
    return repeated(lambda carry: step(carry, x, y), carry, 1, calls=SCAN)


def model_scan(layout: Callable, unroll: int = 1) -> Runner:
    """Gradient steps in a compiled loop, each on rows gathered from the replay."""
    rows = {name: jnp.array(values) for name, values in data.replay().items()}

    @partial(jax.jit, donate_argnums=0)
    def many(carry: Tree, key: jax.Array, rows: Tree) -> Tree:
        def body(carry: Tree, key: jax.Array) -> tuple[Tree, jax.Array]:
            index = jax.random.randint(key, (MEMBERS, ROWS), 0, REPLAY)
            return model_update(likelihood_loss, carry, rows["inputs"][index], rows["targets"][index])

        return lax.scan(body, carry, jax.random.split(key, SCAN), unroll=unroll)[0]

    carry = fresh(model_parameters(data.ensemble_parameters(2 * TARGETS), layout))
    key = jax.random.key(0)
    return repeated(lambda carry: many(carry, key, rows), carry, SCAN)


def sac_jit(layout: Callable) -> Runner:
    """Updates on one batch, dispatched ahead of their completion."""
    batch = jax.tree.map(jnp.array, data.agent_rows(ROWS))
    noise = [jnp.array(data.normals(name, ROWS, ACT)) for name in ("noise_next", "noise")]
    step = jax.jit(lambda state, *inputs: sac_update(state, *inputs)[0], donate_argnums=0)
    return repeated(lambda state: step(state, batch, *noise), agent_state(layout), 1, calls=SCAN)


def sac_scan(layout: Callable, unroll: int = 1) -> Runner:
    """Updates in a compiled loop, each on rows gathered from a replay and with its own noise."""
    replay = jax.tree.map(jnp.array, data.agent_rows(AGENT_REPLAY))

    @partial(jax.jit, donate_argnums=0)
    def many(state: Tree, key: jax.Array, replay: Tree) -> Tree:
        def body(state: Tree, key: jax.Array) -> tuple[Tree, None]:
            rows, *noises = jax.random.split(key, 3)
            index = jax.random.randint(rows, (ROWS,), 0, AGENT_REPLAY)
            noise = [jax.random.normal(key, (ROWS, ACT)) for key in noises]
            return sac_update(state, jax.tree.map(lambda column: column[index], replay), *noise)[0], None

        return lax.scan(body, state, jax.random.split(key, SCAN), unroll=unroll)[0]

    key = jax.random.key(0)
    return repeated(lambda state: many(state, key, replay), agent_state(layout), SCAN)


def vagram_call(layout: Callable, scan: bool) -> Runner:
    """Whole training calls: the value gradients of all replay rows once, then epochs of gathered batches."""
    rows = {name: jnp.array(values) for name, values in data.replay().items()}
    heads = value_heads()
    weights_of = jax.jit(value_weights)
    rng = data.generator("vagram_step")

    def step(carry: Tree, index: jax.Array, rows: Tree, weights: jax.Array) -> Tree:
        batch = rows["inputs"][index], rows["targets"][index], weights[index]
        return model_update(weighted_loss, carry, *batch)[0]

    @partial(jax.jit, donate_argnums=0)
    def epoch(carry: Tree, index: jax.Array, rows: Tree, weights: jax.Array) -> Tree:
        return lax.scan(lambda carry, index: (step(carry, index, rows, weights), None), carry, index)[0]

    one = jax.jit(step, donate_argnums=0)

    def call(carry: Tree) -> Tree:
        weights = weights_of(*heads, rows["next_obs"])
        bootstrap = data.bootstrap_rows(rng).astype(np.int32)
        for _ in range(EPOCHS):
            index = data.epoch_rows(bootstrap, rng)
            if scan:
                carry = epoch(carry, index, rows, weights)
            else:
                for batch in index:
                    carry = one(carry, batch, rows, weights)
        return carry

    carry = fresh(model_parameters(data.ensemble_parameters(TARGETS), layout, gaussian=False))
    return repeated(call, carry, EPOCHS * STEPS_AN_EPOCH)


def variants() -> Variants:
    """Returns all variants by workload."""
    layouts = {"7 dots": separate, "batched": batched}
    critics = {"separate critics": separate, "stacked critics": batched}
    return {
        "sgemm": {f"jit, n = {n}": partial(gemm, n) for n in GEMM_SIZES},
        "model_step": {
            f"{way}, {name}": partial(build, layout)
            for way, build in {"jit": model_jit, f"scan of {SCAN}": model_scan}.items()
            for name, layout in layouts.items()
        },
        "sac_update": {
            f"{way}, {name}": partial(build, layout)
            for way, build in {"jit": sac_jit, f"scan of {SCAN}": sac_scan}.items()
            for name, layout in critics.items()
        },
        "vagram_step": {
            f"{way}, {name}": partial(vagram_call, layout, scan)
            for way, scan in {"jit": False, "scan of an epoch": True}.items()
            for name, layout in layouts.items()
        },
        "dh_update": jax_dh.variants(critic_only=False),
        "dh_critic_update": jax_dh.variants(critic_only=True),
        "sgemm_256": {"jit": partial(gemm, GEMM_SMALL)},
    } | {workload: jax_rollout.variants(workload, layouts) for workload in ROLLOUTS}


if __name__ == "__main__":
    worker = common.Worker("jax", jax.__version__, ARGUMENTS.threads, variants())
    if ARGUMENTS.serve:
        worker.serve()
    else:
        worker.table(ARGUMENTS.workloads, ARGUMENTS.seconds)
