"""The card of a trained optimizer, its folder, and loading it by name."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import app

import unf_lopt
from tests.evaluation.made_up import outcome
from unf_lopt import card, commands, optimizers
from unf_lopt.evaluation import contestants, results
from unf_lopt.optimizers import shipped, theta

PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.zeros(4), "out": jnp.ones((4, 2))}


def loss_fn(params, inputs):
    return jnp.mean((jnp.tanh(inputs @ params["w"] + params["b"]) @ params["out"] - 1) ** 2)


def run(*arguments):
    commands.parse_arguments(card.COMMAND, arguments)
    card.run()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as outer training leaves it: theta, what was run, and the time that it took."""
    folder = tmp_path_factory.mktemp("run")
    lopt = optimizers.mixed_step()
    training = {"task_families": ["some_task", "another_task"]}
    (folder / "run.json").write_text('{"seed": 3}')
    data = optimizers.theta_data(lopt.init(jax.random.key(0)), lopt, 250, training)
    (folder / "theta_250.safetensors").write_bytes(data)
    (folder / "config.gin").write_text("train.num_steps = 250\n")
    row = "250,0.5,1.0,2,7200.0"
    (folder / "metrics.csv").write_text(
        f"outer_step,meta_loss,meta_gradient_norm,skipped,seconds\n{row}\n"
    )
    return folder


def test_the_folder_has_the_card_and_the_theta_that_users_load(trained, tmp_path, capsys):
    found = results.summary(outcome(0.05, 0.01, names=("mine",)))
    (tmp_path / "results.json").write_text(json.dumps(found))
    flags = [f"--theta={trained}", "--name=mine", f"--results={tmp_path / 'results.json'}"]
    flags += ["--fact=cpu_hours=1.5", "--limit=Not for quadratics.", f"--weights_dir={tmp_path}"]
    run(*flags)
    text = (tmp_path / "mine" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert "license: apache-2.0" in front and "library_name: unf_lopt" in front
    assert "model-index:" in front and "value: 2." in front
    for part in (
        "| optimizer | mixed_step |",
        "| outer steps | 250 |",
        "some_task, another_task",
        "| outer seed | 3 |",
        "| hours by the clock | 2.00 |",
        "| cpu hours | 1.5 |",
        "| weight space | any |",
        "mine ends lower than the best tuned baseline on 1 of 2 tasks",
        "- Not for quadratics.",
        "train.num_steps = 250",
        'unf_lopt.to_optax("mine", loss_fn, params, batch, num_steps=1000)',
    ):
        assert part in body, part
    assert capsys.readouterr().out.splitlines()[-1].endswith("model.safetensors")
    unf_lopt.to_optax(
        str(tmp_path / "mine" / "model.safetensors"), loss_fn, PARAMS, jnp.ones((5, 3)), num_steps=9
    )


def test_a_shipped_optimizer_is_loaded_by_its_name(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(theta, "SHIPPED", tmp_path / "package")
    theta.SHIPPED.mkdir()
    run(f"--theta={trained}", "--name=mine", f"--weights_dir={tmp_path}", "--ship")
    assert unf_lopt.trained_optimizers() == ("mine",)
    assert "# mine" in shipped.card("mine")
    inputs = jnp.ones((5, 3))
    own = unf_lopt.load("mine")
    assert own.saved.shipped_name == contestants.Trained.load("mine").name == "mine"
    assert contestants.Trained.load(trained).name == "mixed_step"
    assert own.optimizer.name == "mixed_step" and "some_task" in own.training["task_families"]
    named = unf_lopt.to_optax("mine", loss_fn, PARAMS, inputs, num_steps=9)
    updates = []
    for transformation in (named, own.to_optax(loss_fn, PARAMS, inputs, num_steps=9)):
        state = transformation.init(PARAMS)
        value, gradient = jax.value_and_grad(loss_fn)(PARAMS, inputs)
        update, _ = transformation.update(gradient, state, PARAMS, value=value)
        assert loss_fn(optax.apply_updates(PARAMS, update), inputs) < value
        updates.append(update)
    jax.tree.map(np.testing.assert_array_equal, *updates)
    with pytest.raises(FileNotFoundError, match=r"there is no universl.*ships \(mine\)"):
        unf_lopt.load("universl")
    with pytest.raises(FileNotFoundError, match=r"no shipped optimizer 'other'.*'mine'"):
        shipped.card("other")


def test_what_cannot_be_a_card_is_said(trained, tmp_path):
    with pytest.raises(app.UsageError, match="--theta=THETA and --name=NAME"):
        run("--name=mine")
    with pytest.raises(ValueError, match="--name=my-own"):
        run(f"--theta={trained}", "--name=my-own")
    with pytest.raises(ValueError, match="--fact=hours: is WHAT=TEXT"):
        run(f"--theta={trained}", "--name=a", "--fact=hours", f"--weights_dir={tmp_path}")
    (tmp_path / "results.json").write_text(json.dumps(results.summary(outcome(0.05))))
    flags = [f"--results={tmp_path / 'results.json'}", f"--weights_dir={tmp_path}"]
    with pytest.raises(ValueError, match=r"no 'mine' \(unf, adam\).*--compare=mine=THETA"):
        run(f"--theta={trained}", "--name=mine", *flags)
