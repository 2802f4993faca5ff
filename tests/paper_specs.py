"""The specs of the paper's four tasks as published, with what is wrong in them."""

from tests.strategies import from_axes, mlp_spec


def mlp():
    """64-32-10."""
    return mlp_spec((64, 32, 10))


CNN_FIXED = ("height_0", "width_0", "height_1", "width_1", "input_channels", "classes")
RNN_FIXED = ("vocabulary", "one")
TRANSFORMER_FIXED = ("vocabulary", "classes")


def cnn_names(with_slip=False):
    """Two convolutions of 16 and 32 channels and a linear layer.

    The released spec gives the first kernel's height the number -0, which is that of the input
    channels: 0.
    """
    height = "input_channels" if with_slip else "height_0"
    return {
        "conv2_d": {
            "w": (height, "width_0", "input_channels", "channels_0"),
            "b": ("channels_0",),
        },
        "conv2_d_1": {
            "w": ("height_1", "width_1", "channels_0", "channels_1"),
            "b": ("channels_1",),
        },
        "linear": {"w": ("channels_1", "classes"), "b": ("classes",)},
    }


def cnn(with_slip):
    """The same as a spec, on images of three colours."""
    sizes = dict.fromkeys(CNN_FIXED, 3) | {"channels_0": 16, "channels_1": 32, "classes": 10}
    return _spec(cnn_names(with_slip), sizes)


def rnn_names():
    """Embedding, ReLU recurrence with a learned initial state, softmax."""
    return {
        "embed": {"embeddings": ("vocabulary", "embedding")},
        "irnn/linear": {"w": ("embedding", "hidden"), "b": ("hidden",)},
        "irnn/linear_1": {"w": ("hidden", "hidden"), "b": ("hidden",)},
        "linear": {"w": ("hidden", "vocabulary"), "b": ("vocabulary",)},
        "~": {"initial_state_0": ("one", "hidden")},
    }


def rnn():
    """The same as a spec: embedding 32, 64 units."""
    return _spec(rnn_names(), {"vocabulary": 256, "embedding": 32, "hidden": 64, "one": 1})


def transformer_names():
    """The released spec of the two-block Transformer: every block has a residual stream of its own.

    Heads are left out, and the hidden units of a block's MLP share a space with the channels of
    its attention. It is no symmetry.
    """
    names = {"transformer/embed": {"embeddings": ("vocabulary", "stream_0")}}
    for layer in range(2):
        stream, inner, after = f"stream_{layer}", f"inner_{layer}", f"stream_{layer + 1}"
        block = f"transformer/h{layer}"
        into = {"w": (stream, inner), "b": (inner,)}
        names |= {f"{block}_attn/{name}": into for name in ("query", "key", "value")}
        names[f"{block}_attn/linear"] = {"w": (inner, stream), "b": (stream,)}
        names |= {f"{block}_ln_{n}": {"scale": (stream,), "offset": (stream,)} for n in (1, 2)}
        names[f"{block}_mlp/linear"] = into
        names[f"{block}_mlp/linear_1"] = {"w": (inner, after), "b": (after,)}
    names["transformer/h_f"] = {"scale": ("stream_2",), "offset": ("stream_2",)}
    names["transformer/linear"] = {"w": ("stream_2", "classes"), "b": ("classes",)}
    return names


def transformer():
    """The same as a spec, with small sizes."""
    names = transformer_names()
    spaces = {space for own in names.values() for axes in own.values() for space in axes}
    return _spec(names, dict.fromkeys(spaces, 4))


def _spec(names, sizes):
    flat = {f"{module}/{name}": axes for module, own in names.items() for name, axes in own.items()}
    return from_axes(flat, sizes=sizes)
