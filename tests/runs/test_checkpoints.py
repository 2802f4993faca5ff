"""Checkpoints that are damaged in every way: noticed before anything of them is used."""

import random
import shutil

import pytest

from unf_lopt import runs
from unf_lopt.runs import LEARNER, MANIFEST, PARAMS, PENDING, THETA, UNROLLS, file_name, theta_file

KINDS = (THETA, UNROLLS, PARAMS, LEARNER)
STEPS = (10, 20)


def content(kind, step):
    return f"{kind} of step {step}, ".encode() * 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for step in (0, *STEPS):
        runs.write_checkpoint(folder, step, {kind: content(kind, step) for kind in KINDS})
    return folder


def test_the_last_two_are_kept_and_all_thetas(whole):
    assert runs.complete_steps(whole) == list(STEPS)
    assert runs.steps(whole, PARAMS) == runs.steps(whole, THETA) == [0, *STEPS]
    assert runs.steps(whole, UNROLLS) == runs.steps(whole, LEARNER) == list(STEPS)
    for step in STEPS:
        parts = runs.read_checkpoint(whole, step)
        assert parts == {kind: content(kind, step) for kind in KINDS}


def damage(folder, choose):
    """One kind of damage to the files of the newest checkpoint; says which."""
    kind = choose.choice((*KINDS, MANIFEST))
    path, other = folder / file_name(kind, 20), folder / file_name(kind, 10)
    data = path.read_bytes()
    how = choose.choice(["bit", "cut", "missing", "older", "longer", "empty", "exchanged"])
    if how == "bit":
        place = choose.randrange(len(data))
        flipped = data[place] ^ (1 << choose.randrange(8))
        path.write_bytes(data[:place] + bytes([flipped]) + data[place + 1 :])
    elif how == "cut":
        path.write_bytes(data[: choose.randrange(len(data))])
    elif how == "missing":
        path.unlink()
    elif how == "older":
        path.write_bytes(other.read_bytes())
    elif how == "longer":
        path.write_bytes(data + choose.randbytes(1 + choose.randrange(9)))
    elif how == "empty":
        path.write_bytes(b"")
    else:
        (folder / file_name(kind, 20)).write_bytes(
            (folder / file_name(choose.choice([k for k in KINDS if k != kind]), 20)).read_bytes()
        )
    return kind, how


@pytest.mark.parametrize("part", range(10))
def test_a_thousand_kinds_of_damage_are_noticed(whole, tmp_path, part):
    for number in range(100 * part, 100 * (part + 1)):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        kind, how = damage(folder, random.Random(number))
        if how == "missing" and kind == MANIFEST:
            assert runs.complete_steps(folder) == [10]
        else:
            with pytest.raises(runs.DamagedCheckpoint) as error:
                runs.read_checkpoint(folder, 20)
            assert file_name(kind, 20) in str(error.value), (kind, how)
        assert runs.read_checkpoint(folder, 10)[PARAMS] == content(PARAMS, 10)
        shutil.rmtree(folder)


@pytest.mark.parametrize("written", range(len(KINDS) + 1))
def test_killed_while_writing_it_counts_whole_or_not_at_all(whole, tmp_path, written):
    """The manifest waits under another name until every part is there."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / file_name(MANIFEST, 20)).replace(folder / file_name(PENDING, 20))
    for kind in KINDS[written:]:
        (folder / file_name(kind, 20)).unlink()
    assert runs.complete_steps(folder) == [10]
    runs.settle_pending(folder)
    assert runs.steps(folder, PENDING) == []
    if written == len(KINDS):
        assert runs.read_checkpoint(folder, 20)[UNROLLS] == content(UNROLLS, 20)
    else:
        assert runs.complete_steps(folder) == [10]
        assert 20 not in runs.steps(folder, PARAMS)


def test_one_process_trains_in_a_folder(tmp_path):
    with (
        runs.only_trainer(tmp_path),
        pytest.raises(runs.RunError, match="another process trains in"),
        runs.only_trainer(tmp_path),
    ):
        pass
    with runs.only_trainer(tmp_path):
        pass


@pytest.mark.parametrize("name", ["theta_0002.safetensors", "theta_²3.safetensors", "theta_-1"])
def test_a_file_that_was_renamed_is_no_part_of_a_run(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    (tmp_path / file_name(THETA, 1)).write_bytes(b"")
    assert theta_file(tmp_path).name == "theta_1.safetensors"
