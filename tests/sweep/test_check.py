"""A space is checked before the first trial, without Hydra: with a composer that knows which values are wrong."""

from types import SimpleNamespace

import pytest

from clickflow.errors import ConfigError
from clickflow.sweep.check import check_grid, check_space
from clickflow.sweep.space import Choice, Interval, Range, SearchSpace

KEYS = {"model", "model.dropout", "model.units", "seed"}


class Composer:
    """Configs of ``base`` and of ``din``, which alone has ``model.attention``; refuses given assignments."""

    def __init__(self, refused=(), base=()):
        self.refused, self.base, self.composed = set(refused), set(base), []

    def keys(self, groups):
        return KEYS | ({"model.attention"} if groups.get("model") == "din" else set())

    def compose(self, values):
        self.composed.append(dict(values))
        if values.get("model") in self.base:
            raise ConfigError(f"model = {values['model']}: no such config")
        faults = [f"  {key} = {value!r}: is wrong" for key, value in values.items() if (key, str(value)) in self.refused]
        if faults:
            raise ConfigError("\n".join([f"{len(faults)} problems in the config with {values}:", *faults]))
        return SimpleNamespace(model=SimpleNamespace(dropout=0.0, units=8, attention=True), seed=0)


def space_of(groups=(), **parameters):
    return SearchSpace(parameters={key.replace("__", "."): value for key, value in parameters.items()}, groups=frozenset(groups))


MODELS = Choice(values=("base", "din"))


def test_both_ends_and_every_choice_are_composed_one_at_a_time():
    composer = Composer()
    check_space(
        space_of(model__dropout=Interval(low=0.0, high=0.5), model__units=Choice(values=(4, 8, 16)), seed=Range(low=0, high=8, step=2)),
        composer,
    )

    ends = [
        ("model.dropout", 0.0),
        ("model.dropout", 0.5),
        ("model.units", 4),
        ("model.units", 8),
        ("model.units", 16),
        ("seed", 0),
        ("seed", 8),
    ]
    assert composer.composed == [{}, *({key: value} for key, value in ends)]


def test_a_key_is_composed_with_those_groups_alone_that_have_it():
    composer = Composer()
    check_space(space_of(["model"], model=MODELS, model__attention=Choice(values=(1, 2))), composer)

    assert composer.composed == [{"model": "base"}, {"model": "din"}, *({"model": "din", "model.attention": value} for value in (1, 2))]


def test_a_fault_with_every_model_is_told_once():
    space = space_of(["model"], model=MODELS, model__dropout=Interval(low=0.0, high=2.0))
    with pytest.raises(ConfigError) as caught:
        check_space(space, Composer([("model.dropout", "2.0")]))
    assert str(caught.value) == (
        "1 problem in the search space, each value set by itself:\n  sweep.space.model.dropout: model.dropout = 2.0: is wrong"
    )


def test_a_fault_with_some_models_names_them():
    class OnlyWithDin(Composer):
        def compose(self, values):
            self.refused = {("model.dropout", "0.5")} if values["model"] == "din" else set()
            return super().compose(values)

    space = space_of(["model"], model=MODELS, model__dropout=Interval(low=0.0, high=0.5))
    with pytest.raises(ConfigError, match=r"model\.dropout = 0\.5: is wrong \(with model=din\)$"):
        check_space(space, OnlyWithDin())


def test_a_fault_of_another_key_names_the_value_that_brings_it():
    class Contradicts(Composer):
        def compose(self, values):
            if values.get("seed") == 8:
                raise ConfigError("1 problem in the composed config:\n  model.units = 8: contradicts seed")
            return super().compose(values)

    with pytest.raises(ConfigError, match=r"sweep\.space\.seed: at 8: model\.units = 8: contradicts seed"):
        check_space(space_of(seed=Range(low=0, high=8, step=2)), Contradicts())


def test_all_faults_are_told_at_once():
    space = space_of(model__dropot=Choice(values=(1,)), model__units=Choice(values=(0, 8)), seed=Interval(low=-1, high=5))
    with pytest.raises(ConfigError, match=r"(?s)^3 problems.*model\.dropot: unknown key; did you mean dropout\?.*units = 0.*seed = -1"):
        check_space(space, Composer([("model.units", "0"), ("seed", "-1")]))


def test_a_key_that_no_model_of_the_space_has_is_unknown():
    with pytest.raises(ConfigError, match=r"model\.atention: unknown key with every model of the space; did you mean attention\?"):
        check_space(space_of(["model"], model=MODELS, model__atention=Choice(values=(1, 2))), Composer())
    with pytest.raises(ConfigError, match=r"sweep\.space\.modl\.units: unknown key; did you mean model\.units\?"):
        check_space(space_of(modl__units=Choice(values=(1, 2))), Composer())


def test_a_model_that_cannot_be_composed_is_told_and_the_others_are_checked():
    space = space_of(["model"], model=MODELS, model__units=Choice(values=(0, 8)), model__attention=Choice(values=(1, 2)))
    with pytest.raises(ConfigError) as caught:
        check_space(space, Composer([("model.units", "0")], base=["din"]))
    assert str(caught.value).splitlines()[1:] == [
        "  sweep.space.model.units: model.units = 0: is wrong",
        "  model = din: no such config (with model=din)",
    ]


def test_an_interval_of_whole_numbers_for_a_real_key_is_refused():
    with pytest.raises(
        ConfigError, match=r"interval\(0, 1\) holds whole numbers only, and the key is a real one; write interval\(0\.0, 1\.0\)"
    ):
        check_space(space_of(model__dropout=Interval(low=0, high=1)), Composer())
    check_space(space_of(model__units=Interval(low=1, high=9), model__dropout=Range(low=0, high=1, step=1)), Composer())


def test_a_grid_refuses_every_interval():
    check_grid(space_of(seed=Range(low=0, high=8, step=2), model__units=Choice(values=(4, 8))))
    message = (
        r"(?s)^2 problems.*dropout = interval\(0\.0, 0\.5\): has no grid; .* choice\(…\) and range\(…\); use one of them.*seed = interval"
    )
    with pytest.raises(ConfigError, match=message):
        check_grid(space_of(model__dropout=Interval(low=0.0, high=0.5), seed=Interval(low=0, high=4), model__units=Choice(values=(4, 8))))
