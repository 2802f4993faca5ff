"""The optimizers once more, in NumPy and by the definitions: what the fast ones must equal."""

import jax
import numpy as np
from scipy.special import expit

from unf_lopt.layers import EquivariantLinear, TiedLinear, role_features, untied
from unf_lopt.layers.reference import apply_by_definition
from unf_lopt.optimizers.chains import spatial_apart

DECAYS = np.array([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])
TIMESCALES = np.array([1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000])


class ReferenceOptimizer:
    """A trajectory of one of the optimizers, with ``scalars="log"``.

    Args:
      name: the optimizer's gin name.
      options: its step options.
      spec: the weight space.
      theta: its meta-parameters, float64.
      params: the parameters to start from.
    """

    def __init__(self, name, options, spec, theta, params):
        self.params = jax.tree.map(np.asarray, params)
        self._nominal, self._options = options.nominal, options
        self._spec, self._name = spec, name
        self._scalars = {
            key.removeprefix("tenth_log_"): np.exp(10 * value)
            for key, value in theta["scalars"].items()
            if key.startswith("tenth_log_")
        } | {
            key.removeprefix("tenth_logit_"): expit(10 * value)
            for key, value in theta["scalars"].items()
            if key.startswith("tenth_logit_")
        }
        self._theta = jax.tree.map(np.asarray, theta.get("functional"))
        self._layer = self._last_layer() if self._theta and "unf_linear" in self._theta else None
        self._first = jax.tree.map(np.zeros_like, self.params)
        self._second = jax.tree.map(np.zeros_like, self.params)
        self._momenta = jax.tree.map(lambda w: np.zeros((*w.shape, 6)), self.params)
        self._steps = 0

    def update(self, grad):
        """One step."""
        grad = jax.tree.map(np.asarray, grad)
        new = 1 if self._options.momentum == "sum" else 1 - DECAYS
        self._momenta = jax.tree.map(
            lambda m, g: DECAYS * m + new * g[..., None], self._momenta, grad
        )
        output = self._functional(grad) if self._theta else None
        self._steps += 1
        nominal = self._nominal_term(grad)
        alpha, beta = self._scalars["alpha"], self._scalars.get("beta")
        if output is None:
            direction = nominal
        elif self._nominal == "none":
            direction = jax.tree.map(lambda f: f[..., 0] * np.exp(beta * f[..., 1]), output)
        else:
            relative = self._options.correction == "relative"
            direction = jax.tree.map(
                lambda n, f: n + beta * f[..., 0] * (np.sqrt(np.mean(n**2)) if relative else 1),
                nominal,
                output,
            )
        self.params = jax.tree.map(lambda w, d: w - alpha * d, self.params, direction)

    def _nominal_term(self, grad):
        scalars, t = self._scalars, self._steps
        if self._nominal == "momentum":
            gamma = scalars["gamma"]
            new = 1 if self._options.momentum == "sum" else 1 - gamma
            self._first = jax.tree.map(lambda m, g: gamma * m + new * g, self._first, grad)
            return self._first
        if self._nominal == "adam":
            one, two = scalars["beta1"], scalars["beta2"]
            self._first = jax.tree.map(lambda m, g: one * m + (1 - one) * g, self._first, grad)
            self._second = jax.tree.map(lambda v, g: two * v + (1 - two) * g**2, self._second, grad)
            return jax.tree.map(
                lambda m, v: m / (1 - one**t) / (np.sqrt(v / (1 - two**t)) + scalars["epsilon"]),
                self._first,
                self._second,
            )
        return None

    def _functional(self, grad):
        time = np.tanh(self._steps / TIMESCALES - 1)

        def channels(w, g, m):
            entry = np.concatenate([w[..., None], g[..., None], m], axis=-1)
            if self._options.inputs != "raw":
                entry = np.clip(entry, -1, 1)
                axes = tuple(range(w.ndim if self._options.inputs == "channel_rms" else entry.ndim))
                entry = entry / np.sqrt(np.mean(entry**2, axis=axes, keepdims=True) + 1e-5)
            return np.concatenate([entry, np.broadcast_to(time, (*w.shape, 11))], axis=-1)

        features = jax.tree.map(channels, self.params, grad, self._momenta)
        if self._name == "unf_universal":
            features = jax.tree.map(np.asarray, role_features(self._spec, features))
        trunk = [own for module, own in self._theta.items() if module != "unf_linear"]

        def pointwise(x):
            for index, layer in enumerate(trunk):
                x = x @ layer["w"] + layer["b"]
                x = np.maximum(x, 0) if self._layer or index < len(trunk) - 1 else x
            return x

        features = jax.tree.map(pointwise, features)
        if self._layer is None:
            return features
        layer, params = self._layer
        return jax.tree.map(np.asarray, apply_by_definition(layer, params, features, xp=np))

    def _last_layer(self):
        """The last layer as the full equivariant one, and its parameters."""
        params = self._theta["unf_linear"]
        channels = 2 if self._nominal == "none" else 1
        if self._name == "unf_universal":
            return untied(TiedLinear(self._spec, channels, balanced=True), params)
        spec = spatial_apart(self._spec) if self._name == "nfn" else self._spec
        return EquivariantLinear(spec, channels, balanced=True), params
