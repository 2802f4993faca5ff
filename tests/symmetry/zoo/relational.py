"""Embeddings, factorizations and graphs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import cross_entropy, dense, labels, normal


@case(trap=True, batch=6, words=4, vocabulary=9, stream=5, hidden=3)
def tied_embedding(n):
    """What embeds the words also predicts them."""

    def loss(params, words, target):
        h = jnp.take(params["embedding"], words, axis=0).mean(1)
        h = jnp.tanh(dense(params["up"], h)) @ params["down"]
        return cross_entropy(h @ params["embedding"].T + params["bias"], target)

    table = """
        embedding  [vocabulary], stream
        up/w       stream, hidden
        up/b       hidden
        down       hidden, stream
        bias       [vocabulary]
    """
    args = labels(n.batch, n.words, classes=n.vocabulary), labels(n.batch, classes=n.vocabulary)
    return problem(n, loss, table, args)


@case(trap=True, batch=6, words=7, vocabulary=9, stream=5, classes=3)
def embedding_bag(n):
    """Sums of embeddings by segments."""

    def loss(params, words, bags, y):
        rows = params["embedding"][words] * params["weights"][words, None]
        h = jax.ops.segment_sum(rows, bags, num_segments=n.batch)
        return cross_entropy(jnp.tanh(h) @ params["last"], y)

    table = """
        embedding  [vocabulary], stream
        weights    [vocabulary]
        last       stream, [classes]
    """
    words = labels(n.words * n.batch, classes=n.vocabulary)
    bags = labels(n.words * n.batch, classes=n.batch)
    args = words, bags, labels(n.batch, classes=n.classes)
    return problem(n, loss, table, args, check_fixed_ties=False)


@case(trap=True, batch=6, vocabulary=9, stream=5, negatives=3)
def word_vectors(n):
    """Two tables that meet in an inner product; negatives of the same table."""

    def loss(params, words, contexts, negatives):
        h = params["words"][words]
        good = jnp.sum(h * params["contexts"][contexts], axis=-1)
        bad = jnp.einsum("bd,bnd->bn", h, params["contexts"][negatives])
        return jnp.mean(jax.nn.softplus(-good)) + jnp.mean(jax.nn.softplus(bad))

    table = """
        words     [words], stream
        contexts  [contexts], stream
    """
    n.words = n.contexts = n.vocabulary
    args = [labels(n.batch, classes=n.vocabulary, seed=seed) for seed in (0, 1)]
    negatives = labels(n.batch, n.negatives, classes=n.vocabulary)
    return problem(n, loss, table, (*args, negatives), check_fixed_ties=False)


@case(trap=True, users=6, items=5, rank=4)
def matrix_factorization(n):
    def loss(params, ratings, known):
        guess = params["users"] @ params["items"].T
        guess = guess + params["user_bias"][:, None] + params["item_bias"]
        return jnp.sum(known * (guess - ratings) ** 2) + 0.1 * jnp.sum(params["users"] ** 2)

    table = """
        users      [users], rank
        items      [items], rank
        user_bias  [users]
        item_bias  [items]
    """
    known = labels(n.users, n.items, classes=2).astype(np.float32)
    return problem(n, loss, table, (normal(n.users, n.items), known))


@case(trap=True, first=4, second=5, third=3, rank=6)
def canonical_tensor_decomposition(n):
    def loss(params, target):
        guess = jnp.einsum("ar,br,cr,r->abc", *(params[name] for name in "abcw"))
        return jnp.mean((guess - target) ** 2)

    table = """
        a  [first], rank
        b  [second], rank
        c  [third], rank
        w  rank
    """
    return problem(n, loss, table, (normal(n.first, n.second, n.third),))


@case(trap=True, first=4, second=5, third=3, ranks=2)
def tucker_decomposition(n):
    def loss(params, target):
        guess = jnp.einsum("ai,bj,ck,ijk->abc", *(params[name] for name in "abcg"))
        return jnp.mean((guess - target) ** 2)

    table = """
        a  [first], ranks1
        b  [second], ranks2
        c  [third], ranks3
        g  ranks1, ranks2, ranks3
    """
    return problem(n, loss, table, (normal(n.first, n.second, n.third),))


@case(trap=True, nodes=6, features=5, hidden=4, width=3, classes=2)
def graph_convolution(n):
    """The graph is a matrix of the data."""

    def loss(params, adjacency, x, y):
        h = jax.nn.relu(adjacency @ x @ params["first"] + x @ params["own"])
        h = jax.nn.relu(adjacency @ h @ params["second"] + params["bias"])
        return cross_entropy(h @ params["last"], y)

    table = """
        first   [features], hidden
        own     [features], hidden
        second  hidden, width
        bias    width
        last    width, [classes]
    """
    x, y = normal(n.nodes, n.features), labels(n.nodes, classes=n.classes)
    return problem(n, loss, table, (normal(n.nodes, n.nodes), x, y))


@case(trap=True, nodes=6, edges=9, features=5, hidden=4, messages=7, classes=3)
def message_passing(n):
    """The graph is a list of edges; messages read both ends and are scattered to one."""

    def loss(params, senders, receivers, x, y):
        h = jnp.tanh(x @ params["in"])
        for block in (params["a"], params["b"]):
            ends = jnp.concatenate([h[senders], h[receivers]], axis=-1)
            sent = jax.nn.relu(dense(block["message"], ends))
            received = jnp.zeros((n.nodes, n.messages)).at[receivers].add(sent)
            h = jnp.tanh(jnp.concatenate([h, received], axis=-1) @ block["update"])
        return cross_entropy(h.max(0) @ params["last"], y)

    table = """
        in           [features], hidden1
        a/message/w  hidden1 + hidden1, messages1
        a/message/b  messages1
        a/update     hidden1 + messages1, hidden2
        b/message/w  hidden2 + hidden2, messages2
        b/message/b  messages2
        b/update     hidden2 + messages2, hidden3
        last         hidden3, [classes]
    """
    ends = [labels(n.edges, classes=n.nodes, seed=seed) for seed in (0, 1)]
    args = (*ends, normal(n.nodes, n.features), labels(classes=n.classes))
    return problem(n, loss, table, args)


@case(trap=True, nodes=6, features=5, heads=2, width=3, classes=4)
def graph_attention(n):
    def loss(params, adjacency, x, y):
        h = (x @ params["project"]).reshape(n.nodes, n.heads, n.width)
        score = jnp.einsum("nhw,hw->nh", h, params["from"])[:, None]
        score = score + jnp.einsum("nhw,hw->nh", h, params["to"])[None]
        score = jnp.where(adjacency[..., None] > 0, jax.nn.leaky_relu(score), -1e9)
        weights = jax.nn.softmax(score, axis=1)
        h = jax.nn.elu(jnp.einsum("nmh,mhw->nhw", weights, h)).mean(1)
        return cross_entropy(h @ params["last"], y)

    table = """
        project  [features], heads*width
        from     heads, width
        to       heads, width
        last     width, [classes]
    """
    adjacency = np.eye(n.nodes, dtype=np.float32) + normal(n.nodes, n.nodes)
    x, y = normal(n.nodes, n.features), labels(n.nodes, classes=n.classes)
    return problem(n, loss, table, (adjacency, x, y))


@case(trap=True, batch=6, pixels=7, memories=5, keys=4, values=3, classes=2)
def memory_network(n):
    """Keys and values in tables of slots: slots are a group."""

    def loss(params, x, y):
        weights = jax.nn.softmax(x @ params["query"] @ params["keys"].T)
        return cross_entropy(jnp.tanh(weights @ params["values"]) @ params["last"], y)

    table = """
        query   [pixels], keys
        keys    memories, keys
        values  memories, values
        last    values, [classes]
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels), labels(n.batch, classes=n.classes)))


@case(trap=True, batch=6, objects=4, features=5, hidden=3, width=7, classes=2)
def relation_network(n):
    """A network over all pairs of objects of the data: the one, and the way to the other."""

    def loss(params, x, y):
        left = jnp.repeat(x[:, :, None], n.objects, axis=2)
        right = jnp.tile(x[:, None], (1, n.objects, 1, 1))
        pairs = jnp.concatenate([left, right - left], axis=-1)
        h = jax.nn.relu(dense(params["pair"], pairs)).sum((1, 2))
        return cross_entropy(jax.nn.relu(dense(params["all"], h)) @ params["last"], y)

    table = """
        pair/w  [features] + [features], hidden
        pair/b  hidden
        all/w   hidden, width
        all/b   width
        last    width, [classes]
    """
    args = normal(n.batch, n.objects, n.features), labels(n.batch, classes=n.classes)
    return problem(n, loss, table, args)
