"""Losses that draw random numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tests.symmetry.zoo.case import RAW_KEY, case, problem
from tests.symmetry.zoo.data import (
    cross_entropy,
    dense,
    labels,
    normal,
    reconstruction,
)

VAE = dict(batch=5, pixels=7, hidden=4, latent=3, width=6)


def _vae(n, latent, loss, args, **options):
    table = f"""
        encoder/w    [pixels], hidden
        encoder/b    hidden
        mean/w       hidden, {latent}
        mean/b       {latent}
        log_scale/w  hidden, {latent}
        log_scale/b  {latent}
        decoder/w    {latent}, width
        decoder/b    width
        out/w        width, [pixels]
        out/b        [pixels]
    """
    return problem(n, loss, table, (*args, normal(n.batch, n.pixels)), **options)


def _vae_loss(params, noise, x):
    h = jnp.tanh(dense(params["encoder"], x))
    mean, log_scale = dense(params["mean"], h), dense(params["log_scale"], h)
    z = mean + jnp.exp(log_scale / 4) * noise
    out = dense(params["out"], jax.nn.relu(dense(params["decoder"], z)))
    divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_scale / 2) - log_scale / 2 - 1, -1)
    return reconstruction(out, x) + jnp.mean(divergence)


def _drawn_vae(n, latent, randomness):
    def loss(params, key, x):
        return _vae_loss(params, jax.random.normal(key, (n.batch, n.latent)), x)

    return _vae(n, latent, loss, (RAW_KEY,), randomness=randomness)


@case(trap=True, **VAE)
def variational_autoencoder(n):
    """Draws are frozen, so that latent units can be told apart by their noise."""
    return _drawn_vae(n, "[latent]", "frozen")


@case(trap=True, **VAE)
def variational_autoencoder_in_distribution(n):
    """The loss's distribution does not change when latent units are permuted."""
    return _drawn_vae(n, "latent", "in_distribution")


@case(trap=True, **VAE)
def variational_autoencoder_given_noise(n):
    """The noise as model state, which is permuted with the latent units: the same on numbers."""

    def loss(params, noise, x):
        return _vae_loss(params, noise, x), noise

    options = {"state_argnum": 0, "state_table": ".  [batch], latent"}
    return _vae(n, "latent", loss, (normal(n.batch, n.latent),), **options)


@case(trap={"moments": 2}, batch=5, pixels=7, latent=3, hidden=4, moments=2)
def latent_moments_from_one_layer(n):
    """Mean and scale are halves of one layer's output; in distribution."""

    def loss(params, key, x):
        mean, log_scale = jnp.split(x @ params["encoder"], n.moments, axis=-1)
        z = mean + jnp.exp(log_scale / 4) * jax.random.normal(key, mean.shape)
        return reconstruction(jnp.tanh(z @ params["decoder"]) @ params["out"], x)

    table = """
        encoder  [pixels], [moments]*latent
        decoder  latent, hidden
        out      hidden, [pixels]
    """
    args = (RAW_KEY, normal(n.batch, n.pixels))
    return problem(n, loss, table, args, randomness="in_distribution")


def _dropout(n, randomness):
    def loss(params, key, x, y):
        keep = jax.random.bernoulli(key, 0.7, (n.batch, n.hidden))
        h = jnp.where(keep, jax.nn.relu(dense(params["first"], x)) / 0.7, 0.0)
        h = jax.nn.relu(dense(params["second"], h))
        return cross_entropy(h @ params["last"], y)

    hidden = "[hidden]" if randomness == "frozen" else "hidden"
    table = f"""
        first/w   [pixels], {hidden}
        first/b   {hidden}
        second/w  {hidden}, width
        second/b  width
        last      width, [classes]
    """
    args = (RAW_KEY, normal(n.batch, n.pixels), labels(n.batch, classes=n.classes))
    return problem(n, loss, table, args, randomness=randomness)


DROPOUT = dict(batch=5, pixels=7, hidden=4, width=6, classes=3)


@case(trap=True, **DROPOUT)
def dropout(n):
    return _dropout(n, "frozen")


@case(trap=True, **DROPOUT)
def dropout_in_distribution(n):
    return _dropout(n, "in_distribution")
