"""The part of `check.py` for the agent that learns through the model, in double precision.

On the workload's numbers, both programs are compared in every form and layout: three whole updates, and three
updates of the critics alone. Both are also compared with the recorded update `dhmbpo_update` of `agents.json` among
the fixtures. It has small networks, and its own model: layer norms, the reward first, one standard deviation per
member and channel.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import data
import jax_dh as on_jax
import jax_nets
import torch_dh as on_torch
from common import BLOCKS

STEPS = 3
#: Folder of the fixtures, unless `FORESEE_FIXTURES` names another one.
FIXTURES = Path(__file__).resolve().parents[2] / "assets" / "fixtures"

Numbers = dict[str, np.ndarray]
Compare = Callable[[str, Numbers, Numbers], None]


def as_numbers(nets: dict[str, Any], found: dict[str, Any]) -> Numbers:
    """Returns networks of either program and form as arrays by name, stacked by network, with the numbers of an update.
    """
    numbers = {}
    for name, net in nets.items():
        layers = net if isinstance(net[0], tuple) else [stack(parts) for parts in zip(*net)]
        for n, layer in enumerate(layers):
            for kind, part in zip(("weight", "bias"), layer):
                array = np.asarray(part.detach() if isinstance(part, torch.Tensor) else part)
                # A single network counts as a stack of one. Biases may have an axis for rows or not.
                numbers[f"{name} {n} {kind}"] = array.reshape(-1, *array.shape[-1:])
    for name, value in found.items():
        if name != "actor_gradient":
            numbers[name] = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
    return numbers


def stack(layers: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Stacks one layer of several networks."""
    parts = ([np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in kind] for kind in zip(*layers))
    weights, biases = (np.stack(list(kind)) for kind in parts)
    return weights, biases


# Both programs on the workload.


def of_torch(members: Callable, critics: Callable, whole: bool, critic_only: bool) -> Numbers:
    """Returns losses and networks after the updates."""
    agent = on_torch.agent(critics)
    own: Any = on_torch.Whole(agent, compiled=False) if whole else agent
    model, draws = on_torch.world(members), on_torch.given_draws()
    for _ in range(STEPS):
        found = own.update(model, draws, critic_only)
    nets = {"actor": own.actor, "critic": own.critics, "target": own.target}
    return as_numbers(nets, found | {"log_temperature": own.log_temperature})


def of_jax(members: Callable, critics: Callable, critic_only: bool) -> Numbers:
    """Returns losses and networks after the updates."""
    state, model = on_jax.state(critics), on_jax.world(members)
    draws = {name: jnp.array(part) for name, part in data.dh_draws().items()}
    step = jax.jit(lambda *args: on_jax.update(*args, critic_only=critic_only))
    for _ in range(STEPS):
        state, found = step(state, model, draws)
    nets = {name: state[name] for name in ("actor", "critic", "target")}
    return as_numbers(nets, found | {"log_temperature": state["log_temperature"]})


def programs(compare: Compare) -> None:
    """Compares all forms with all layouts."""
    layouts = {"separate": (jax_nets.separate, on_torch.separate), "batched": (jax_nets.batched, on_torch.stacked)}
    for critic_only in (False, True):
        what = "dh_critic_update" if critic_only else "dh_update"
        for members, (jax_members, torch_members) in layouts.items():
            for critics, (jax_critics, torch_critics) in layouts.items():
                reference = of_jax(jax_members, jax_critics, critic_only)
                for ending, whole in {"": False, " whole": True}.items():
                    found = of_torch(torch_members, torch_critics, whole, critic_only)
                    compare(f"{what}: members {members}, critics {critics}{ending}", found, reference)
    share = float((reference["alive"] > 0).mean())
    # If no row or every row were alive, masks would have no effect.
    compare(f"{what}: some rows end, {share:.0%} do not", {"": np.array(0.05 < share < 0.95, float)}, {"": np.ones(())})


# The recorded update.


def tensors(value: Any) -> Any:
    """Converts `{shape, data}` to arrays, and layers `{W, b}` to pairs."""
    if isinstance(value, dict) and "shape" in value:
        return np.array(value["data"], np.float64).reshape(value["shape"])
    if isinstance(value, dict) and value.keys() == {"W", "b"}:
        return tensors(value["W"]), tensors(value["b"])
    if isinstance(value, dict):
        return {name: tensors(part) for name, part in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [tensors(part) for part in value]
    return value


def layers_of(net: list[tuple[np.ndarray, np.ndarray]]) -> data.Layers:
    """Converts layers `[E, I, O]`, `[E, O]` to the form of `data`, with an axis for the rows of the biases."""
    return [w for w, _ in net], [b[:, None] for _, b in net]


def norms_of(eps: list[float]) -> list[float | None]:
    """Returns the fixture's epsilons, 0 for none."""
    return [value or None for value in eps]


def jax_recorded_step(norms: Sequence[float | None], threshold: float) -> Callable:
    """Returns the recorded model's step in JAX."""

    def step(world: Any, obs: jax.Array, action: jax.Array, noise: jax.Array, members: jax.Array) -> tuple:
        y = on_jax.by_member(world["net"], jnp.concatenate([obs, action], -1), members, norms)
        y = y.at[:, 1:].add(
            jnp.exp(jnp.repeat(world["log_noise"][members], len(obs) // len(members), 0))[:, 1:] * noise
        )
        y = y * world["target_std"] + world["target_mean"]
        obs = obs + y[:, 1:] / world["obs_std"]
        return y[:, 0], obs, (obs * world["obs_std"] + world["obs_mean"])[:, 0] > threshold

    return step


def torch_recorded_step(norms: Sequence[float | None], threshold: float) -> Callable:
    """Returns the recorded model's step in PyTorch."""

    def step(world: Any, obs: torch.Tensor, action: torch.Tensor, noise: torch.Tensor, members: torch.Tensor) -> tuple:
        y = on_torch.by_member(world["net"], torch.cat([obs, action], -1), members, norms)
        std = world["log_noise"][members].repeat_interleave(len(obs) // len(members), 0).exp()
        y = torch.cat([y[:, :1], y[:, 1:] + std[:, 1:] * noise], -1) * world["target_std"] + world["target_mean"]
        obs = obs + y[:, 1:] / world["obs_std"]
        return y[:, 0], obs, (obs * world["obs_std"] + world["obs_mean"])[:, 0] > threshold

    return step


def recorded(compare: Compare) -> bool:
    """Compares either program with the recorded update; returns false if the file does not exist."""
    path = Path(os.environ.get("FORESEE_FIXTURES", FIXTURES)) / "agents.json"
    if not path.exists():
        print(f"skipped: the recorded update of dh_update; there is no `{path}`")
        return False
    all_entries = json.loads(path.read_text())["entries"]
    nets, given, want = (
        tensors(part)
        for part in (all_entries["nets"]["inputs"], *(all_entries["dhmbpo_update"][k] for k in ("inputs", "outputs")))
    )
    count = len(nets["model_layers"][0][0])
    blocks = np.array(given["member_of_row"]).astype(int).reshape(given["H"], count, -1)
    assert (blocks == blocks[..., :1]).all(), "rows of one block have one member"
    draws = {
        "obs": given["obs0"],
        "noise_action": given["eps_action"],
        "noise_model": given["eps_model"],
        "members": blocks[..., 0],
        "pair": np.array(given["critic_pair"]).astype(int),
    }
    scales = {name: nets[name] for name in ("obs_mean", "obs_std", "target_mean", "target_std")}
    scales |= {"log_noise": nets["model_log_noise"]}
    norms, critic_norms = norms_of(nets["model_ln_eps"]), norms_of(nets["critic_ln_eps"])
    bounds, threshold = np.array([given["q_lb_before"], given["q_ub_before"]]), given["term_threshold"]
    expected = as_numbers(
        {
            "actor": want["actor_after"],
            "critic": want["critic_after"],
            "target": want["critic_target_after"],
            "actor gradient": want["actor_grad"],
        },
        {
            "critic_loss": want["critic_loss"],
            "bounds": np.array([want["q_lb"], want["q_ub"]]),
            "target": want["target"],
            "alive": given["gamma"] ** given["H"] * want["alive"][given["H"]],
            "rewards": want["rewards"],
            "temperature_gradient": want["raw_alpha_grad"],
            "log_temperature": want["raw_alpha_after"],
        },
    )

    def told(own: Numbers) -> Numbers:
        # The recorded actor loss includes the temperature's loss.
        return {name: value for name, value in own.items() if name != "actor_loss"}

    for name, layout in {"separate": jax_nets.separate, "batched": jax_nets.batched}.items():
        actor = [(jnp.array(w), jnp.array(b)) for w, b in nets["actor"]]
        state = {"actor": actor, "critic": layout(layers_of(nets["critic"])), "bounds": jnp.array(bounds)}
        state |= {"target": jax_nets.batched(layers_of(nets["critic_target"]))}
        state |= {"log_temperature": jnp.log(jnp.array(given["alpha"]))}
        state |= {"adam": [on_jax.adam.init(state[part]) for part in ("critic", "actor", "log_temperature")]}
        world = {"net": layout(layers_of(nets["model_layers"]))} | {k: jnp.array(v) for k, v in scales.items()}
        inputs = {k: jnp.array(v) for k, v in draws.items()}
        step = jax_recorded_step(norms, threshold)
        state, found = on_jax.update(state, world, inputs, step=step, norms=critic_norms)
        after = {part: state[part] for part in ("actor", "critic", "target")}
        after |= {"actor gradient": found["actor_gradient"]}
        own = as_numbers(after, found | {"log_temperature": state["log_temperature"]})
        compare(f"dh_update: jax {name}, the recorded update", told(own), expected)

    for name, form in {"separate": on_torch.separate, "batched": on_torch.stacked}.items():
        for ending, whole in {"": False, " whole": True}.items():
            actor = [(torch.tensor(w), torch.tensor(b)) for w, b in nets["actor"]]
            losses = on_torch.Losses(torch_recorded_step(norms, threshold), critic_norms)
            critics, targets = form(layers_of(nets["critic"])), form(layers_of(nets["critic_target"]))
            agent = on_torch.Agent(actor, critics, targets, torch.tensor(bounds), losses, alpha=given["alpha"])
            runs: Any = on_torch.Whole(agent, compiled=False) if whole else agent
            world = {"net": form(layers_of(nets["model_layers"]))} | {k: torch.tensor(v) for k, v in scales.items()}
            found = runs.update(world, {k: torch.tensor(v) for k, v in draws.items()})
            after = {"actor": runs.actor, "critic": runs.critics, "target": runs.target}
            after |= {"actor gradient": found["actor_gradient"]}
            own = as_numbers(after, found | {"log_temperature": runs.log_temperature})
            compare(f"dh_update: torch {name}{ending}, the recorded update", told(own), expected)
    return True


def draws_of_scans() -> list[str]:
    """Returns the failed checks of JAX's own draws: permutations, and pairs of different targets, new each time."""
    problems = []
    pool = jnp.array(data.dh_pool())
    one, *others = (on_jax.drawn(jax.random.key(n), pool) for n in range(6))
    for name in one:
        # There are twenty pairs: two draws may be equal by chance, six are not.
        if all(np.array_equal(one[name], other[name]) for other in others):
            problems.append(f"dh_update: jax draws {name} alike every time")
    if not (np.sort(np.asarray(one["members"]), -1) == np.arange(BLOCKS)).all():
        problems.append("dh_update: jax's members of a step are no permutation")
    if len(set(np.asarray(one["pair"]).tolist())) != len(one["pair"]):
        problems.append("dh_update: jax's targets of an update are not different")
    print(f"{'FAIL' if problems else 'ok  '} dh_update: jax's draws {'; '.join(problems)}".rstrip())
    return problems


def all_checks(compare: Compare) -> list[str]:
    """Makes every comparison, and returns the failed checks of the draws."""
    programs(compare)
    recorded(compare)
    return draws_of_scans()
