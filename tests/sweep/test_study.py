"""A study is made once, carried on by its name, and refused to whoever asks for something else."""

import optuna
import pytest
from optuna.storages import InMemoryStorage
from tests.runs.small import SMALL
from tests.sweep.composers import SmallComposer

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.errors import TrackingError
from clickflow.sweep import study as study_module
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.space import Choice, Interval, Range, SearchSpace
from clickflow.sweep.study import PARENT, READY, describe, describe_study, enqueue_grid, open_study, total
from clickflow.sweep.trials import GIVEN_UP

SPACE = SearchSpace(parameters={"optimizer.learning_rate": Interval(low=1e-4, high=1e-2, log=True)})
GRID = SearchSpace(parameters={"model": Choice(values=("base", "din")), "model.attention_input": Choice(values=("outer", "product")),
                               "trainer.batch_size": Range(low=128, high=256, step=128)}, groups={"model"})  # fmt: skip


def config(*overrides, **sweep):
    values = composed_config("sweep", [*SMALL, "home=/nowhere", *overrides])
    return validate(SweepRunConfig, values | {"sweep": values["sweep"] | sweep})


def spec(*overrides, space=SPACE, fingerprint="abc"):
    return describe(config(*overrides), space, SmallComposer(*overrides), fingerprint)


def opened(storage, spec, *, ready=True):
    study, is_new = open_study(storage, config(), spec)
    if is_new:
        describe_study(study, spec, "parent")
        if ready:
            study.set_user_attr(READY, True)
    return study, is_new


def test_the_first_to_ask_makes_the_study_and_the_next_carries_on():
    storage = InMemoryStorage()
    assert opened(storage, spec())[1]
    study, is_new = opened(storage, spec())
    assert not is_new
    assert study.user_attrs[PARENT] == "parent"


def test_a_study_whose_maker_died_before_it_was_described_is_taken_over(monkeypatch):
    monkeypatch.setattr(study_module, "READY_SECONDS", 0.3)
    storage = InMemoryStorage()
    open_study(storage, config(), spec())
    assert open_study(storage, config(), spec())[1]


OTHER_SPACE = SearchSpace(parameters={"optimizer.learning_rate": Interval(low=1e-4, high=1e-1, log=True)})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda: spec(fingerprint="def"), "data fingerprint: abc in the study, def asked for"),
        (
            lambda: spec(space=OTHER_SPACE),
            r'sweep\.space\.optimizer\.learning_rate: interval .*"high": 0\.01, .* in the study, .*"high": 0\.1',
        ),
        (lambda: spec("model.dropout=0.1"), r"model\.dropout: 0\.0 in the study, 0\.1 asked for"),
        (lambda: spec("sweep.metric=val/auc"), r"sweep\.metric val/gauc: maximize in the study, nothing asked for"),
        (lambda: spec("sweep.metric=val/auc"), r"sweep\.metric val/auc: nothing in the study, maximize asked for"),
        (lambda: spec("model=base"), r'model\.name: "din" in the study, "base" asked for'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ready", [True, False])
def test_a_study_made_for_something_else_is_refused_with_the_difference(asked, message, ready):
    storage = InMemoryStorage()
    opened(storage, spec(), ready=ready)
    with pytest.raises(TrackingError, match=rf"(?s)sweep\.study_name = synthetic-din: this study was made for something else.*{message}"):
        open_study(storage, config(), asked())


def test_where_things_lie_and_who_works_are_no_difference():
    elsewhere = spec(
        "home=/elsewhere",
        "sweep.num_trials=99",
        "sweep.num_workers=7",
        "trainer.num_threads=3",
        "tracking=server",
    )
    assert elsewhere == spec()


def test_each_choice_of_a_model_is_described_by_its_own_keys():
    described = spec(space=GRID)
    assert described["model.attention_hidden_units (model=din)"] == "[80, 40]"
    assert "model.attention_hidden_units (model=base)" not in described
    assert not any(key.startswith("model.attention_input") for key in described)


class TestGrid:
    def points(self, study):
        return [trial.system_attrs["fixed_params"] for trial in study.trials]

    def test_it_has_every_combination_of_what_each_model_has(self):
        study = optuna.create_study()
        enqueue_grid(study, GRID, SmallComposer(), 99)
        values = [GRID.values(point) for point in self.points(study)]
        assert values == [
            {"model": "base", "trainer.batch_size": 128},
            {"model": "base", "trainer.batch_size": 256},
            {"model": "din", "model.attention_input": "outer", "trainer.batch_size": 128},
            {"model": "din", "model.attention_input": "outer", "trainer.batch_size": 256},
            {"model": "din", "model.attention_input": "product", "trainer.batch_size": 128},
            {"model": "din", "model.attention_input": "product", "trainer.batch_size": 256},
        ]

    def test_no_point_comes_twice_and_a_larger_total_adds_the_rest(self):
        study = optuna.create_study()
        enqueue_grid(study, GRID, SmallComposer(), 2)
        enqueue_grid(study, GRID, SmallComposer(), 2)
        assert len(study.trials) == 2
        enqueue_grid(study, GRID, SmallComposer(), 6)
        assert len({str(point) for point in self.points(study)}) == len(study.trials) == 6

    @pytest.mark.parametrize(("given_up", "num_trials"), [(False, 3), (True, 2)])
    def test_a_failed_point_without_a_retry_comes_again_unless_it_was_given_up(self, given_up, num_trials):
        study = optuna.create_study()
        enqueue_grid(study, GRID, SmallComposer(), 2)
        trial = study.ask()
        trial.set_user_attr(GIVEN_UP, given_up)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        enqueue_grid(study, GRID, SmallComposer(), 2)
        assert len(study.trials) == num_trials

    def test_the_total_is_no_more_than_its_points(self):
        assert total(config(sampler="grid", num_trials=50), GRID, SmallComposer()) == 6
        assert total(config(sampler="grid", num_trials=4), GRID, SmallComposer()) == 4
        assert total(config(num_trials=50), GRID, SmallComposer()) == 50
