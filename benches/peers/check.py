"""Whether the PyTorch and JAX programs do the same work: same weights and rows in, same losses and weights out.

    python check.py

Every form and layout makes three steps on the same batch, in double precision: in single precision the sign of a tiny
gradient, and with it a step of Adam, is left to rounding. Prints the largest differences and fails above 1e-8. The
update recorded from a reference implementation is read where `FORESEE_FIXTURES` names a folder with `agents.json`.
"""

import common

if __name__ == "__main__":
    common.set_threads(common.arguments(__doc__).threads)

import os
import sys
from collections.abc import Callable

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "1"

import jax
import jax.numpy as jnp
import numpy as np
import torch

import data
import check_dh
import check_rollout
import jax_peer as on_jax
import torch_nets as on_torch
import torch_peer
from common import ACT, MEMBERS, ROWS, TARGETS
from torch_whole import WholeUpdate

STEPS = 3
TOLERANCE = 1e-8

data.DTYPE = np.float64
torch.set_default_dtype(torch.float64)

#: Numbers by name: losses, and weights stacked by member, `[E, I, O]`.
Numbers = dict[str, np.ndarray]
failures: list[str] = []


def stack(net: on_jax.Tree) -> list[np.ndarray]:
    """Converts either of JAX's layouts to weights and biases in turn, unchanged or stacked by member."""
    if isinstance(net[0], tuple):
        return [np.asarray(a) for layer in net for a in layer]
    layers = zip(*([a for layer in member for a in layer] for member in net))
    return [np.stack(arrays) for arrays in layers]


def numbered(name: str, arrays: list[np.ndarray]) -> Numbers:
    """Returns arrays by numbered names."""
    return {f"{name} {n}": a for n, a in enumerate(arrays)}


def compare(what: str, of_torch: Numbers, of_jax: Numbers) -> None:
    """Prints the largest difference, and records a failure."""
    assert of_torch.keys() == of_jax.keys(), (of_torch.keys(), of_jax.keys())
    worst, name = 0.0, ""
    for key, value in of_torch.items():
        other = np.asarray(of_jax[key])
        assert value.shape == other.shape, (what, key, value.shape, other.shape)
        # The difference is absolute below 1 and relative above.
        difference = float(np.max(np.abs(value - other) / np.maximum(1.0, np.abs(other))))
        if not difference <= worst:
            worst, name = difference, key
    fine = worst <= TOLERANCE
    print(f"{'ok  ' if fine else 'FAIL'} {what:<58} {worst:.1e} {f'({name})' if name else ''}")
    if not fine:
        failures.append(what)


# The model.


def batch_of(weighted: bool) -> list[np.ndarray]:
    """Returns a batch of the likelihood or of VaGraM."""
    weights = [np.square(data.normals("weights", MEMBERS, ROWS, common.OBS))] if weighted else []
    return [*data.model_batch(), *weights]


def torch_ensemble(model: on_torch.Ensemble) -> list[np.ndarray]:
    """Returns weights and biases in turn, stacked by member."""
    weights, biases = ([p.detach().numpy() for p in ps] for ps in (model.weights, model.biases))
    if model.form != "baddbmm":
        weights, biases = (
            [np.stack(ps[n :: model.depth]) for n in range(model.depth)] for ps in (weights, biases)
        )
        biases = [b.reshape(len(b), 1, -1) for b in biases]
    return [a for layer in zip(weights, biases) for a in layer]


def torch_model(form: str, weighted: bool) -> Numbers:
    """Returns losses and weights of the steps."""
    model = on_torch.Ensemble(data.ensemble_parameters(TARGETS * (1 if weighted else 2)), form, gaussian=not weighted)
    opt = on_torch.model_adam(model)
    loss_of, losses = (model.weighted_loss if weighted else model.likelihood_loss), []
    for _ in range(STEPS):
        opt.zero_grad()
        loss = loss_of(*map(torch.tensor, batch_of(weighted)))
        loss.backward()
        opt.step()
        losses.append(loss.detach().numpy())
    bounds = {} if weighted else {name: getattr(model, name).detach().numpy() for name in ("min_logvar", "max_logvar")}
    return {"losses": np.stack(losses)} | numbered("layer", torch_ensemble(model)) | bounds


def jax_model(layout: Callable, weighted: bool) -> Numbers:
    """Returns losses and weights of the steps."""
    layers = data.ensemble_parameters(TARGETS * (1 if weighted else 2))
    carry = on_jax.fresh(on_jax.model_parameters(layers, layout, gaussian=not weighted))
    loss = on_jax.weighted_loss if weighted else on_jax.likelihood_loss
    step, losses = jax.jit(lambda carry, *batch: on_jax.model_update(loss, carry, *batch)), []
    for _ in range(STEPS):
        carry, value = step(carry, *map(jnp.array, batch_of(weighted)))
        losses.append(np.asarray(value))
    bounds = {name: np.asarray(value) for name, value in carry[0].items() if name != "net"}
    return {"losses": np.stack(losses)} | numbered("layer", stack(carry[0]["net"])) | bounds


# The agent.


def torch_critic(named: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """Converts parameters of either form to weights and biases in turn, stacked by critic."""
    arrays = {name: np.atleast_2d(p.detach().numpy().T) for name, p in named.items()}
    if "weights.0" in named:
        return [named[f"{kind}.{n}"].detach().numpy() for n in range(3) for kind in ("weights", "biases")]
    # Every second module of a perceptron is a ReLU.
    return [
        np.stack([arrays[f"nets.{head}.{2 * n}.{kind}"] for head in range(2)])
        for n in range(3)
        for kind in ("weight", "bias")
    ]


def torch_actor(named: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """Returns weights `[I, O]` and biases `[1, O]` in turn."""
    return [np.atleast_2d(p.detach().numpy().T) for p in named.values()]


def torch_sac(form: str, whole: str) -> Numbers:
    """Returns losses and weights of updates by `WholeUpdate`'s method `whole`, or by `Sac` if `whole` is empty."""
    agent = on_torch.Sac(data.actor_parameters(), data.critic_parameters(), form)
    if whole:
        update = WholeUpdate(agent, compiled=False)
        one = getattr(update, whole)
        losses = [torch.stack([x.reshape(()) for x in one(*torch_peer.agent_batch())]) for _ in range(STEPS)]
        parts = update.actor, update.critic, update.target, update.temperature["log"]
    else:
        losses = [torch.stack(agent.update(*torch_peer.agent_batch())) for _ in range(STEPS)]
        nets = [dict(net.named_parameters()) for net in (agent.actor, agent.critic, agent.target)]
        parts = *nets, agent.log_temperature.detach()
    actor, critic, target, log_temperature = parts
    return (
        {"losses": torch.stack(losses).numpy(), "log temperature": log_temperature.numpy().reshape(())}
        | numbered("actor", torch_actor(actor))
        | numbered("critic", torch_critic(critic))
        | numbered("target", torch_critic(target))
    )


def jax_sac(layout: Callable) -> Numbers:
    """Returns losses and weights of the updates."""
    state, losses = on_jax.agent_state(layout), []
    batch = {name: jnp.array(rows) for name, rows in data.agent_rows(ROWS).items()}
    noise = [jnp.array(data.normals(name, ROWS, ACT)) for name in ("noise_next", "noise")]
    step = jax.jit(on_jax.sac_update)
    for _ in range(STEPS):
        state, values = step(state, batch, *noise)
        losses.append(np.stack(values))
    return (
        {"losses": np.stack(losses), "log temperature": np.asarray(state["log_temperature"])}
        | numbered("actor", [np.atleast_2d(a) for a in stack(state["actor"])])
        | numbered("critic", stack(state["critic"]))
        | numbered("target", stack(state["target"]))
    )


def main() -> int:
    """Makes all comparisons."""
    layouts = {"7 dots": on_jax.separate, "batched": on_jax.batched}
    for weighted in (False, True):
        what = "vagram_step" if weighted else "model_step"
        references = {name: jax_model(layout, weighted) for name, layout in layouts.items()}
        for form in ("baddbmm", "addmm", "linear"):
            for name, reference in references.items():
                compare(f"{what}: torch {form}, jax {name}", torch_model(form, weighted), reference)

    critics = {"separate": on_jax.separate, "stacked": on_jax.batched}
    references = {name: jax_sac(layout) for name, layout in critics.items()}
    for form in ("separate", "batched"):
        for ending, whole in {"": "", " whole": "update", " whole in place": "update_in_place"}.items():
            for name, reference in references.items():
                what = f"sac_update: torch {form}{ending}, jax {name}"
                compare(what, torch_sac(form, whole), reference)

    states = data.replay()["next_obs"]
    of_torch = on_torch.value_weights(*torch_peer.value_heads(), torch.tensor(states)).numpy()
    of_jax = np.asarray(on_jax.value_weights(*on_jax.value_heads(), jnp.array(states)))
    compare("vagram_step: value weights of all rows", {"weights": of_torch}, {"weights": of_jax})

    check_rollout.steps(layouts, compare)
    failures.extend(check_rollout.draws())
    failures.extend(check_dh.all_checks(compare))
    return len(failures)


if __name__ == "__main__":
    sys.exit(main())
