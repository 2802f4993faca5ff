"""Parameters and features of which no entry is zero, as NumPy arrays in float64."""

import numpy as np


def random_params(layer, seed, input_channels):
    """Parameters of a plain layer, every coefficient and bias standard normal."""
    generator = np.random.default_rng(seed)
    shapes = layer.parameter_shapes(input_channels)
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


def random_tree(spec, seed, channels):
    """Features of a weight space, ``[*shape, channels]`` by path."""
    generator = np.random.default_rng(seed + 1)
    return {
        path: generator.normal(size=(*shape, channels))
        for path, shape in zip(spec.paths, spec.shapes, strict=True)
    }
