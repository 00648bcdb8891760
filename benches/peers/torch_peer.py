"""PyTorch's variants of the fixed workloads, and numpy's of `sgemm`.

    python torch_peer.py [--threads 2] [--seconds 2] [workload ...]
    python torch_peer.py --threads 2 --serve
"""

import common

if __name__ == "__main__":
    ARGUMENTS = common.arguments(__doc__)
    common.set_threads(ARGUMENTS.threads)

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import data
import torch_dh
import torch_rollout
from common import EPOCHS, GEMM_SIZES, GEMM_SMALL, ROLLOUTS, ROWS, STEPS_AN_EPOCH, TARGETS, Runner, Variants
from torch_nets import Actor, Critic, Ensemble, Sac, model_adam, value_weights
from torch_whole import WholeUpdate

# Every variant keeps its compiled graphs.
torch._dynamo.config.recompile_limit = 64


def compile_if(compiled: bool, f: Callable) -> Callable:
    """Returns the function, or its compilation for the shapes of its first call."""
    return torch.compile(f, dynamic=False) if compiled else f


def gemm(n: int) -> Runner:
    """Square product, torch."""
    a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
    return Runner(lambda: torch.mm(a, b, out=out), flops=2 * n**3)


def gemm_numpy(n: int) -> Runner:
    """Square product, numpy."""
    a, b, out = data.normals("a", n, n), data.normals("b", n, n), np.empty((n, n), np.float32)
    return Runner(lambda: np.matmul(a, b, out=out), flops=2 * n**3)


def model_step(compiled: bool, form: str, optimizer: str) -> Runner:
    """Gradient steps on one batch."""
    model = Ensemble(data.ensemble_parameters(2 * TARGETS), form)
    opt = model_adam(model, optimizer)
    loss = compile_if(compiled, model.likelihood_loss)
    x, y = map(torch.tensor, data.model_batch())

    def step() -> None:
        opt.zero_grad(set_to_none=True)
        loss(x, y).backward()
        opt.step()

    return Runner(step)


def agent_batch() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Returns a batch, and noise for the actions at s' and s."""
    batch = {name: torch.tensor(rows) for name, rows in data.agent_rows(ROWS).items()}
    noise = [torch.tensor(data.normals(name, ROWS, common.ACT)) for name in ("noise_next", "noise")]
    return batch, noise[0], noise[1]


def sac_update(compiled: bool, form: str, optimizer: str) -> Runner:
    """Updates on one batch."""
    agent = Sac(data.actor_parameters(), data.critic_parameters(), form, optimizer, compiled)
    inputs = agent_batch()
    return Runner(lambda: agent.update(*inputs))


def sac_whole(form: str) -> Runner:
    """Updates on one batch, each one compiled graph."""
    agent = WholeUpdate(Sac(data.actor_parameters(), data.critic_parameters(), form), compiled=True)
    inputs = agent_batch()
    return Runner(lambda: agent.update(*inputs))


def value_heads() -> tuple[list[Critic], Actor]:
    """Returns two critics and two targets, and the actor."""
    critics = [Critic(data.critic_parameters(name)) for name in ("critic", "target")]
    return [critic.requires_grad_(False) for critic in critics], Actor(data.actor_parameters()).requires_grad_(False)


def vagram_call(compiled: bool, form: str) -> Runner:
    """Whole training calls: the value gradients of all replay rows once, then epochs of gathered batches."""
    model = Ensemble(data.ensemble_parameters(TARGETS), form, gaussian=False)
    opt = model_adam(model)
    critics, actor = value_heads()
    loss = compile_if(compiled, model.weighted_loss)
    rows = {name: torch.tensor(values) for name, values in data.replay().items()}
    rng = data.generator("vagram_step")

    def call() -> None:
        weights = value_weights(critics, actor, rows["next_obs"])
        bootstrap = data.bootstrap_rows(rng)
        for _ in range(EPOCHS):
            for index in torch.from_numpy(data.epoch_rows(bootstrap, rng)):
                batch = rows["inputs"][index], rows["targets"][index], weights[index]
                opt.zero_grad(set_to_none=True)
                loss(*batch).backward()
                opt.step()

    return Runner(call, steps=EPOCHS * STEPS_AN_EPOCH)


def variants() -> Variants:
    """Returns all variants by workload."""
    ways = {"eager": False, "compile": True}
    return {
        "sgemm": {f"torch, n = {n}": partial(gemm, n) for n in GEMM_SIZES}
        | {f"numpy, n = {n}": partial(gemm_numpy, n) for n in GEMM_SIZES},
        "model_step": {
            f"{way}, {'7 × addmm' if form == 'addmm' else form}, Adam {optimizer}": partial(
                model_step, compiled, form, optimizer
            )
            for way, compiled in ways.items()
            for form in ("baddbmm", "addmm")
            for optimizer in ("fused", "foreach")
        },
        "sac_update": {
            f"{way}, {form} critics, Adam {optimizer}": partial(sac_update, compiled, form, optimizer)
            for way, compiled in ways.items()
            for form in ("separate", "batched")
            for optimizer in ("fused", "foreach")
        }
        | {f"compile whole, {form} critics": partial(sac_whole, form) for form in ("separate", "batched")},
        "vagram_step": {
            f"{way}, {'7 × addmm' if form == 'addmm' else form}": partial(vagram_call, compiled, form)
            for way, compiled in ways.items()
            for form in ("baddbmm", "addmm")
        },
        "dh_update": torch_dh.variants(critic_only=False),
        "dh_critic_update": torch_dh.variants(critic_only=True),
        "sgemm_256": {"torch": partial(gemm, GEMM_SMALL), "numpy": partial(gemm_numpy, GEMM_SMALL)},
    } | {workload: torch_rollout.variants(workload) for workload in ROLLOUTS}


if __name__ == "__main__":
    torch.set_num_threads(ARGUMENTS.threads)
    worker = common.Worker("torch", torch.__version__, ARGUMENTS.threads, variants())
    if ARGUMENTS.serve:
        worker.serve()
    else:
        worker.table(ARGUMENTS.workloads, ARGUMENTS.seconds)
