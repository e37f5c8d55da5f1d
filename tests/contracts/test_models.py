"""The contract of models over every model: a new model in the union is covered at once."""

from typing import Annotated, Literal, get_args

from tests.contracts.models import TestEveryModel, options

from clickflow.config import StrictConfig
from clickflow.models.config import Activation

__all__ = ["TestEveryModel"]


def test_options_are_found_however_their_values_are_listed():
    class Example(StrictConfig):
        name: Literal["example"] = "example"
        plain: Literal["a", "b"] = "a"
        alias: Activation = "relu"
        bounded: Annotated[Literal[1, 2], "unit"] = 1
        optional: Literal["c"] | None = None
        flag: bool = False
        width: int = 3

    found = list(options(Example))

    assert [choices for choices in found if "alias" not in choices] == [
        {"plain": "b"},
        {"bounded": 2},
        {"optional": "c"},
        {"flag": True},
    ]
    assert {choices["alias"] for choices in found if "alias" in choices} == set(get_args(Activation)) - {"relu"}
