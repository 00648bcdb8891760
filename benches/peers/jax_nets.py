"""JAX's perceptrons, one or several together, in either layout."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import data

Tree = Any


#: Layer norms of a perceptron: for every linear layer the epsilon of the layer norm before it, or none.
Norms = Sequence[float | None]


def layer_norm(x: jax.Array, eps: float) -> jax.Array:
    """Normalises every row to mean 0 and variance 1, without weights."""
    x = x - x.mean(-1, keepdims=True)
    return x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + eps)


def perceptron(layers: Tree, x: jax.Array, activation: Callable = jax.nn.relu, norms: Norms = ()) -> jax.Array:
    """Applies weights and biases layer by layer: `[.., I, O]` and `[.., O]`, batched if there are leading axes."""
    for n, (weight, bias) in enumerate(layers):
        if norms and norms[n] is not None:
            x = layer_norm(x, norms[n])
        x = jnp.matmul(x, weight) + bias
        x = activation(x) if n < len(layers) - 1 else x
    return x


def batched(layers: data.Layers) -> Tree:
    """Returns all members as one stack, a list of layers."""
    return [(jnp.array(w), jnp.array(b)) for w, b in zip(*layers)]


def separate(layers: data.Layers) -> Tree:
    """Returns a list of layers for every member."""
    weights, biases = layers
    members = range(len(weights[0]))
    return [[(jnp.array(w[e]), jnp.array(b[e])) for w, b in zip(weights, biases)] for e in members]


def outputs(net: Tree, x: jax.Array, activation: Callable, norms: Norms = ()) -> jax.Array:
    """Passes `[E, B, I]`, or `[B, I]` for all members, through either layout: `-> [E, B, C]`."""
    if isinstance(net[0], tuple):
        return perceptron(net, x, activation, norms)
    own = x if x.ndim == 3 else [x] * len(net)
    return jnp.stack([perceptron(member, rows, activation, norms) for member, rows in zip(net, own)])
