"""Composed configs: what is refused, how it is said, and that everything wrong is said at once."""

import re
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from clickflow.config import Contradictions, FilePath, Names, PositiveIntegers, StrictConfig, flatten, suggest, validate
from clickflow.errors import ConfigError


class Circle(StrictConfig):
    name: Literal["circle"] = "circle"
    radius: Annotated[float, Field(gt=0)] = 1.0
    line_width: int = 1


class Square(StrictConfig):
    name: Literal["square"] = "square"
    side: Annotated[float, Field(gt=0)]
    line_width: int = 1


class Margins(StrictConfig):
    left: Annotated[int, Field(ge=0)] = 0
    right: Annotated[int, Field(ge=0)] = 0
    width: Annotated[int, Field(gt=0)] = 100

    def _contradictions(self) -> Contradictions:
        if self.left + self.right >= self.width:
            yield "left", f"= {self.left}: nothing is left of width = {self.width}"
            yield "right", f"= {self.right}: nothing is left of width = {self.width}"


class Label(StrictConfig):
    text: str
    size: int = 10


class Page(StrictConfig):
    shape: Annotated[Circle | Square, Field(discriminator="name")]
    title: Annotated[str, Field(min_length=1)]
    margins: Margins = Margins()
    columns: PositiveIntegers = (1, 2)
    words: Names = ()
    folder: FilePath | None = None
    labels: dict[str, Label] = {}
    caption: Label | None = None
    is_draft: bool = False

    def _contradictions(self) -> Contradictions:
        if self.is_draft and self.caption is None:
            yield "is_draft", "= true: needs caption.text, which is not given; give it or set is_draft=false"


def page(**values: Any) -> dict[str, Any]:
    return {"shape": {"name": "circle"}, "title": "a"} | values


def problems(values: dict[str, Any], config_class: type = Page) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(config_class, values)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{len(lines)} problem{'s' if len(lines) > 1 else ''} in the composed config:"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


def test_a_good_config_is_built_with_its_defaults():
    config = validate(Page, page(columns=[3], folder="/data", shape={"name": "square", "side": 2}))

    assert config.shape == Square(side=2)
    assert config.columns == (3,)
    assert str(config.folder) == "/data"
    assert config.margins == Margins()


def test_a_config_is_frozen():
    config = validate(Page, page())

    with pytest.raises(ValidationError, match="frozen"):
        config.title = "b"
    with pytest.raises(ValidationError, match="frozen"):
        config.margins.left = 3


def test_the_given_values_are_left_as_they_are():
    values = page(columns=["1"], shape={"name": "circle", "radius": -1}, extra=1)

    problems(values)

    assert values == page(columns=["1"], shape={"name": "circle", "radius": -1}, extra=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (page(titel="a"), "titel: unknown key; did you mean title?"),
        (page(zzz=1), f"zzz: unknown key; allowed: {', '.join(sorted(Page.model_fields))}"),
        (page(margins={"lefd": 1}), "margins.lefd: unknown key; did you mean left?"),
        (page(shape={"name": "circle", "radios": 1}), "shape.radios: unknown key; did you mean radius?"),
        (page(caption={"text": "a", "siz": 1}), "caption.siz: unknown key; did you mean size?"),
        (page(labels={"x": {"text": "a", "siz": 1}}), "labels.x.siz: unknown key; did you mean size?"),
        (page(labels={"text": {"text": "a", "siz": 1}}), "labels.text.siz: unknown key; did you mean size?"),
        (page(shape={"name": "circle", "circle": 1}), "shape.circle: unknown key; allowed: line_width, name, radius"),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(values, message):
    assert problems(values) == [message]


def test_a_key_of_another_member_of_the_union_is_not_suggested():
    assert problems(page(shape={"name": "circle", "side": 1})) == ["shape.side: unknown key; allowed: line_width, name, radius"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (page(shape={"name": "circle", "line_width": "16"}), "shape.line_width = '16': must be a valid integer"),
        (page(shape={"name": "circle", "line_width": True}), "shape.line_width = True: must be a valid integer"),
        (page(shape={"name": "circle", "line_width": 1.0}), "shape.line_width = 1.0: must be a valid integer"),
        (page(shape={"name": "circle", "radius": "1e-3"}), "shape.radius = '1e-3': must be a valid number"),
        (page(shape={"name": "circle", "radius": float("nan")}), "shape.radius = nan: must be a finite number"),
        (page(shape={"name": "circle", "radius": float("inf")}), "shape.radius = inf: must be a finite number"),
        (page(is_draft="false"), "is_draft = 'false': must be a valid boolean"),
        (page(is_draft=0), "is_draft = 0: must be a valid boolean"),
        (page(title=5), "title = 5: must be a valid string"),
        (page(title=None), "title = None: must be a valid string"),
        (page(folder=5), "folder = 5: must be a path"),
        (page(columns=5), "columns = 5: must be a list"),
        (page(columns="1,2"), "columns = '1,2': must be a list"),
        (page(words="one"), "words = 'one': must be a list"),
        (page(words=[1]), "words.0 = 1: must be a valid string"),
        (page(margins=5), "margins = 5: must be a section with keys of its own"),
        (page(margins=None), "margins = None: must be a section with keys of its own"),
        (page(shape="circle"), "shape = 'circle': must be a section with keys of its own"),
        (page(labels=["a"]), "labels = ['a']: must be a section with keys of its own"),
    ],
)
def test_a_value_of_the_wrong_type_is_not_converted(values, message):
    assert problems(values) == [message]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (page(margins={"left": -1}), "margins.left = -1: must be greater than or equal to 0"),
        (page(shape={"name": "circle", "radius": 0}), "shape.radius = 0: must be greater than 0"),
        (page(columns=[1, 0]), "columns.1 = 0: must be greater than 0"),
        (page(title=""), "title = '': must not be empty"),
    ],
)
def test_a_value_out_of_range_is_refused(values, message):
    assert problems(values) == [message]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (page(shape={"name": "cirkle"}), "shape.name = cirkle: did you mean circle?"),
        (page(shape={"name": "hexagon"}), "shape.name = hexagon: allowed: circle, square"),
        (page(shape={"name": 5}), "shape.name = 5: allowed: circle, square"),
        (page(shape={"radius": 1.0}), "shape.name: required, but not given"),
        ({"title": "a"}, "shape: required, but not given"),
        (page(shape={"name": "square"}), "shape.side: required, but not given"),
        (page(labels={"x": {}}), "labels.x.text: required, but not given"),
    ],
)
def test_a_wrong_or_missing_choice_is_named(values, message):
    assert problems(values) == [message]


def test_faults_of_all_kinds_in_all_sections_are_listed_at_once():
    found = problems(
        {
            "shape": {"name": "square", "line_width": "2", "radius": 1},
            "margins": {"left": 60, "right": 60},
            "columns": [0, "1", 2],
            "labels": {"x": {"text": 1}, "y": {"texd": "a"}},
            "caption": {"siez": 1},
            "ttile": "a",
        }
    )

    assert sorted(found) == sorted(
        [
            "shape.side: required, but not given",
            "shape.line_width = '2': must be a valid integer",
            "shape.radius: unknown key; allowed: line_width, name, side",
            "title: required, but not given",
            "ttile: unknown key; did you mean title?",
            "margins.left = 60: nothing is left of width = 100",
            "margins.right = 60: nothing is left of width = 100",
            "columns.0 = 0: must be greater than 0",
            "columns.1 = '1': must be a valid integer",
            "labels.x.text = 1: must be a valid string",
            "labels.y.text: required, but not given",
            "labels.y.texd: unknown key; did you mean text?",
            "caption.text: required, but not given",
            "caption.siez: unknown key; did you mean size?",
        ]
    )


def test_a_contradiction_of_the_whole_config_is_listed_with_faults_of_its_sections():
    found = problems(page(is_draft=True, margins={"left": -1}, extra=1, columns=["1"]))

    assert sorted(found) == sorted(
        [
            "is_draft = true: needs caption.text, which is not given; give it or set is_draft=false",
            "margins.left = -1: must be greater than or equal to 0",
            "extra: unknown key; allowed: " + ", ".join(sorted(Page.model_fields)),
            "columns.0 = '1': must be a valid integer",
        ]
    )


def test_a_contradiction_inside_a_union_is_named_without_the_tag():
    class Ring(StrictConfig):
        name: Literal["ring"] = "ring"
        inner: int = 1
        outer: int = 2

        def _contradictions(self) -> Contradictions:
            if self.inner >= self.outer:
                yield "inner", f"= {self.inner}: not inside outer = {self.outer}"

    class Drawing(StrictConfig):
        shape: Annotated[Circle | Ring, Field(discriminator="name")]

    assert problems({"shape": {"name": "ring", "inner": 5}}, Drawing) == ["shape.inner = 5: not inside outer = 2"]


def test_a_refused_value_is_not_also_called_missing_or_contradictory():
    class Grid(StrictConfig):
        sizes: PositiveIntegers

    assert problems({"sizes": [1, "2"]}, Grid) == ["sizes.1 = '2': must be a valid integer"]
    # width = "200" would have left room; the default width, which stands in for it, would not
    assert problems(page(margins={"left": 150, "width": "200"})) == ["margins.width = '200': must be a valid integer"]
    assert problems(page(is_draft=True, caption={"text": 5})) == ["caption.text = 5: must be a valid string"]


def test_two_problems_of_one_key_are_both_listed():
    class Crowded(StrictConfig):
        size: int = 1

        def _contradictions(self) -> Contradictions:
            yield "size", "= 1: too small for a"
            yield "size", "= 1: too small for b"

    assert problems({}, Crowded) == ["size = 1: too small for a", "size = 1: too small for b"]


def test_the_message_says_what_was_read():
    with pytest.raises(ConfigError, match=re.escape("1 problem in config.yaml of run abc:\n  title: required, but not given")):
        validate(Page, {"shape": {"name": "circle"}}, "config.yaml of run abc")


# Each entry: where, a value that is refused there.
FAULTS = {
    ("shape", "line_width"): "2",
    ("shape", "radius"): -1,
    ("title",): 7,
    ("margins", "left"): -3,
    ("margins", "lefd"): 1,
    ("columns",): [1, 0],
    ("words",): 3,
    ("is_draft",): 1,
    ("caption", "text"): 2,
    ("labels", "x", "size"): "10",
    ("unknown",): None,
}


@given(st.sets(st.sampled_from(sorted(FAULTS)), min_size=1))
def test_every_fault_is_listed_once_whatever_else_is_wrong(chosen):
    values: dict[str, Any] = {"shape": {"name": "circle"}, "title": "a", "caption": {"text": "a"}, "labels": {"x": {"text": "b"}}}
    for path in chosen:
        section = values
        for key in path[:-1]:
            section = section.setdefault(key, {})
        section[path[-1]] = FAULTS[path]

    found = [re.match(r"[\w.]+", line).group() for line in problems(values)]

    assert sorted(found) == sorted(".".join(path) + (".1" if path == ("columns",) else "") for path in chosen)


words = st.text(st.characters(exclude_categories=["C", "Z"]))
any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words, lambda inner: st.lists(inner) | st.dictionaries(words, inner)
)


@given(st.sampled_from(sorted(Page.model_fields)), any_value)
def test_whatever_stands_at_a_key_is_taken_or_refused_by_its_name(key, value):
    try:
        validate(Page, page(**{key: value}))
    except ConfigError as error:
        message = str(error)
    else:
        message = ""
    assert all(line.startswith(f"  {key}") for line in message.split("\n")[1:])


def test_flatten_gives_dotted_keys_and_keeps_empty_sections():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}, "g": None}) == {
        "a.b.c": 1,
        "a.d": [1, {"e": 2}],
        "f": {},
        "g": None,
    }


def test_suggest_names_the_nearest_word_or_all_of_them():
    assert suggest("adan", ["adam", "sgd"]) == "did you mean adam?"
    assert suggest("x", ["sgd", "adam"]) == "allowed: adam, sgd"
