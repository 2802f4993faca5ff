"""Pictures of specs: what must be in them, and that nothing breaks out of them."""

import re
from xml.etree import ElementTree

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import from_axes, mlp_spec, specs
from tests.symmetry.zoo import attention, recurrent
from tests.symmetry.zoo.case import cases_of
from unf_lopt import PermutationSpec
from unf_lopt.symmetry import Product, Sum, spaces_of

HOSTILE = "<script>alert(1)</script>&amp;\"'\x00\x1b\n\u202e\ud800]]>-->"


def root_of(spec, **options):
    return ElementTree.fromstring(spec.draw(**options).svg)


def with_class(root, name):
    return [own for own in root.iter() if name in own.get("class", "").split()]


def title_of(group):
    return group.find("{*}title").text


def text_of(group):
    """All that is written in a group, without its titles."""
    texts = (own for own in group.iter() if own.tag.endswith("}text"))
    return ["".join(own.itertext()) for own in texts]


def letters(spec):
    """The letter of every space that the legend has one for."""
    entries = with_class(root_of(spec), "legend")
    return {title_of(own).rpartition(": size")[0]: text_of(own)[0] for own in entries}


def zoo():
    """Losses of attention and recurrence, with products and sums of spaces."""
    cases = [own for module in (attention, recurrent) for own in cases_of(module)]
    return [own for own in cases if "all-8" not in own.name][:12]


def check(spec):
    """The laws."""
    root = root_of(spec)
    boxes = with_class(root, "parameter")
    assert [title_of(box).split(", ")[0] for box in boxes] == list(spec.paths)
    for box, shape, axes in zip(boxes, spec.shapes, spec.axes, strict=True):
        assert ("×".join(map(str, shape)) or "scalar") in text_of(box)
        drawn = with_class(box, "axis")
        numbers = [int(re.match(r"axis (\d+): ", title_of(own))[1]) for own in drawn]
        assert numbers == list(range(len(axes)))
        for own, axis in zip(drawn, axes, strict=True):
            check_axis(spec, own, axis)
    check_legend(spec, root)


def check_axis(spec, drawn, axis):
    """Every space of the axis has a tile with its letter, its size and its colour."""
    signs = letters(spec)
    shown = {(text_of(tile)[0], fill_of(tile)) for tile in with_class(drawn, "tile")}
    for space in spaces_of(axis):
        text = f"{signs.get(space, '')} {spec.spaces[space]}".strip()
        assert text in {own for own, _ in shown}, (space, shown)


def fill_of(tile):
    return next(own for own in tile.iter() if own.tag.endswith("}rect")).get("fill")


def check_legend(spec, root):
    """Every group has an entry: its name, its size, and on how many axes it lies."""
    entries = {title_of(own): own for own in with_class(root, "group")}
    expected = set()
    for name, size in spec.groups.items():
        count = sum(name in spaces_of(axis) for own in spec.axes for axis in own)
        axes = f"{count} {'axis' if count == 1 else 'axes'}"
        expected.add(f"{name}: size {size}, permutes {axes}")
    assert set(entries) == expected


@given(specs(max_tensors=6))
def test_every_parameter_axis_and_group_is_there(spec):
    check(spec)


@pytest.mark.parametrize("case", zoo(), ids=lambda case: case.name)
def test_products_and_sums(case):
    check(case.build().expected)


def test_a_nested_group_says_what_it_has_permutations_for():
    names = {"query": ("stream", "heads", "keys"), "scanned": ("layer", "stream", "hidden")}
    spec = from_axes(
        names, {"layer"}, {"heads": 2, "keys": 3, "stream": 5, "hidden": 7, "layer": 4}
    )
    spec = spec.nest({"keys": "heads", "hidden": "layer"})
    root, signs = root_of(spec), letters(spec)
    shown = {own: title_of(own) for own in with_class(root, "group")}
    (keys,) = (own for own, title in shown.items() if title.startswith("keys"))
    (hidden,) = (own for own, title in shown.items() if title.startswith("hidden"))
    assert text_of(keys)[-1] == f"of its own for each {signs['heads']}"
    assert text_of(hidden)[-1] == "of its own for each layer"
    assert sum("of its own" in title for title in shown.values()) == 2
    assert f"keys ({signs['keys']} for each {signs['heads']}, 3)" in spec.draw().svg
    assert "every index of B" in spec.draw().svg
    assert "every index of B" not in spec.nest({}).draw().svg


def test_groups_have_a_colour_and_fixed_axes_none():
    root = root_of(mlp_spec([7, 5, 4, 3]))
    (first, second) = with_class(root, "group")
    assert fill_of(first) != fill_of(second)
    for box in with_class(root, "parameter"):
        for axis in with_class(box, "axis"):
            tiles = with_class(axis, "tile")
            grey = [bool(with_class(tile, "grey")) for tile in tiles]
            assert grey == ["fixed" in title_of(axis)]


def test_every_group_of_many_is_distinguished_by_its_letter_and_its_look():
    """Up to 21 by colour and border, more by the letter alone."""
    count = 30
    names = {f"p{number}": (f"s{number}", f"s{number}") for number in range(count)}
    spec = from_axes(names, sizes={f"s{number}": number + 2 for number in range(count)})
    assert len(set(letters(spec).values())) == count
    looks = [looks_of(own) for own in with_class(root_of(spec), "group")]
    assert len(set(looks[:21])) == 21


def looks_of(entry):
    rect = next(own for own in entry.iter() if own.tag.endswith("}rect"))
    return tuple(rect.get(name) for name in ("fill", "stroke", "stroke-dasharray"))


def test_the_same_spec_gives_the_same_picture():
    first, second = (mlp_spec([7, 5, 3]).draw().svg for _ in range(2))
    assert first == second
    assert PermutationSpec.from_json(mlp_spec([7, 5, 3]).to_json()).draw().svg == first


def test_hostile_names_are_text():
    shapes = {
        HOSTILE: jax.ShapeDtypeStruct((2, 3), "float32"),
        "w": jax.ShapeDtypeStruct((2,), int),
    }
    spec = PermutationSpec(
        tuple(shapes), ((HOSTILE, "b"), (HOSTILE,)), ((HOSTILE, 2), ("b", 3)), frozenset({"b"})
    )
    svg = spec.draw(title=HOSTILE).svg
    root = ElementTree.fromstring(svg)
    svg.encode()
    assert "<script" not in svg and "\x1b" not in svg and "\u202e" not in svg
    tags = {own.tag.rpartition("}")[2] for own in root.iter()}
    assert tags == {"svg", "title", "desc", "style", "rect", "g", "text", "tspan"}
    assert "<script>alert(1)</script>&amp;\"'\\u0000\\u001b" in root.find("{*}title").text
    assert len(with_class(root, "parameter")) == 2


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_name_can_be_drawn(path, space):
    spec = PermutationSpec((path,), ((space,),), ((space, 2),), frozenset())
    root = root_of(spec, title=path)
    assert len(with_class(root, "axis")) == 1
    spec.draw().svg.encode()


def test_nothing_lies_outside_or_upon_another():
    """Whatever the lengths of paths and axes, boxes do not overlap and tiles are in their box."""
    paths = ["x" * length for length in range(1, 200, 9)] + [f"a/{'b' * 40}/c{n}" for n in range(9)]
    axis = Sum((Product(("h", "w")),) * 2 + (Product(("h", "w", "h", "w")),) * 3)
    spec = PermutationSpec(
        tuple(paths), ((axis, "h", "w"),) * len(paths), (("h", 2), ("w", 31)), frozenset({"w"})
    )
    root = root_of(spec)
    (outer,) = [own for own in root if with_class(own, "parameter")]
    boxes = [rectangle(own, outer) for own in with_class(outer, "parameter")]
    width, height = float(root.get("width")), float(root.get("height"))
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
        for other in boxes[:number]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart
    for box in with_class(outer, "parameter"):
        (card,) = with_class(box, "card")
        for axis in with_class(box, "axis"):
            for tile in with_class(axis, "tile"):
                left, top = (sum(own) for own in zip(place(axis), place(tile), strict=True))
                rect = next(own for own in tile.iter() if own.tag.endswith("}rect"))
                assert left + float(rect.get("width")) < float(card.get("width"))
                assert top + float(rect.get("height")) < float(card.get("height"))


def place(own):
    return tuple(map(float, re.findall(r"[\d.]+", own.get("transform"))))


def rectangle(box, outer):
    (left, top), (card,) = place(box), with_class(box, "card")
    left, top = left + place(outer)[0], top + place(outer)[1]
    return left, top, left + float(card.get("width")), top + float(card.get("height"))


def test_a_spec_without_parameters_or_without_groups():
    assert with_class(root_of(PermutationSpec((), (), (), frozenset())), "parameter") == []
    fixed = root_of(from_axes({"w": ("pixels",)}, fixed={"pixels"}))
    assert with_class(fixed, "group") == []
    assert "No axis can be permuted" in "".join(text_of(fixed))


def test_it_has_a_title_and_a_description_for_those_who_do_not_see_it():
    spec = mlp_spec([7, 5, 3])
    root = root_of(spec, title="An MLP")
    assert root.get("role") == "img"
    assert root.find("{*}title").text == "An MLP"
    assert root.find("{*}desc").text == str(spec)


def test_a_notebook_shows_it():
    picture = mlp_spec([7, 5, 3]).draw()
    assert picture._repr_svg_() == picture.svg


def test_it_is_saved_whole_or_not_at_all(tmp_path):
    picture = mlp_spec([7, 5, 3]).draw()
    path = picture.save(tmp_path / "mlp.svg")
    assert path.read_bytes() == picture.svg.encode()
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        picture.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        picture.save(tmp_path / "none" / "mlp.svg")
    path.unlink()
    path.mkdir()
    (path / "something").write_text("")
    with pytest.raises(IsADirectoryError):
        picture.save(path)
    assert [own.name for own in tmp_path.iterdir()] == ["mlp.svg"]
