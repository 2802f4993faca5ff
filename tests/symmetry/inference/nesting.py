"""What the tests of nested groups share."""

import numpy as np

from unf_lopt import infer_spec, verify_spec

RNG = np.random.default_rng(0)


def arrays(**shapes):
    return {name: RNG.normal(size=shape) for name, shape in shapes.items()}


def nested_of(loss, params, *args, **options):
    spec = infer_spec(loss, params, *args, nested=True, **options)
    assert spec.nest({}) == infer_spec(loss, params, *args, **options)
    verify_spec(spec, loss, params, *args, maximality=False, **options)
    return spec.nested
