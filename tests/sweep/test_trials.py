"""Asking for, telling and failing trials: never more than the total, never twice, and nothing is lost."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from tests.sweep.trial_stores import RATE, add, make_trial_store

from clickflow.sweep.trials import FIXED_PARAMS, GIVEN_UP, REASON, RETRIES, RETRY_OF, Failure, TrialStore, count, is_surplus, retries
from clickflow.tracking.owner import Owner

ME = Owner.here()
BROKE = Failure("it broke")


def ask(trial_store):
    trial = trial_store.ask(ME)
    if trial is not None:
        trial.suggest_float("optimizer.learning_rate", RATE.low, RATE.high)
    return trial


def last(trial_store):
    return trial_store.trials()[-1]


class TestAsking:
    def test_a_trial_carries_who_took_it(self):
        trial_store = make_trial_store()
        trial = ask(trial_store)
        assert last(trial_store).user_attrs["worker"] == {"host": ME.host, "pid": os.getpid(), "started": ME.started}
        assert trial.number == 0

    def test_no_more_are_taken_than_the_total(self):
        trial_store = make_trial_store(total=2)
        assert [ask(trial_store) is not None for _ in range(4)] == [True, True, False, False]
        assert len(trial_store.trials()) == 2  # none was asked for in vain

    def test_a_failed_trial_makes_room_for_another(self):
        trial_store = make_trial_store(total=1)
        trial_store.tell(ask(trial_store).number, TrialState.FAIL)
        assert ask(trial_store) is not None

    @pytest.mark.parametrize("is_grid", [False, True])
    def test_what_is_left_is_the_total_without_what_was_trained_or_pruned(self, is_grid):
        trial_store = make_trial_store(total=3, is_grid=is_grid)
        if is_grid:
            for rate in (0.1, 0.2, 0.3):
                trial_store.study.enqueue_trial({"optimizer.learning_rate": rate})
        left = [trial_store.num_left]
        for state, values in ((TrialState.COMPLETE, [0.5]), (TrialState.PRUNED, None), (TrialState.COMPLETE, [0.6])):
            trial = ask(trial_store)
            left.append(trial_store.num_left)  # a running trial is still to finish
            trial_store.tell(trial.number, state, values)
            left.append(trial_store.num_left)
        assert left == [3, 3, 2, 2, 1, 1, 0]

    def test_a_failed_trial_is_still_left_unless_it_was_a_grids_point_given_up(self):
        for is_grid, expected in ((False, 2), (True, 1)):
            trial_store = make_trial_store(total=2, is_grid=is_grid)
            for rate in (0.1, 0.2):
                trial_store.study.enqueue_trial({"optimizer.learning_rate": rate})
            ask(trial_store)
            trial_store.fail(last_running(trial_store), Failure("diverged", is_final=True), 3)
            assert trial_store.num_left == expected

    def test_of_two_workers_that_both_saw_the_last_place_the_later_one_fails_its_trial_as_surplus(self, monkeypatch):
        trial_store = make_trial_store(total=1)
        ask = trial_store.study.ask
        others = []

        def ask_second():  # another worker is faster between looking and asking
            others.append(ask())
            return ask()

        monkeypatch.setattr(trial_store.study, "ask", ask_second)
        assert trial_store.ask(ME) is None
        assert is_surplus(last(trial_store))
        assert count(trial_store.trials()).running == 1
        assert count(trial_store.trials()).failed == 0

    def test_a_grid_gives_only_enqueued_points(self):
        trial_store = make_trial_store(total=5, is_grid=True)
        trial_store.study.enqueue_trial({"optimizer.learning_rate": 0.3})
        assert ask(trial_store).params == {"optimizer.learning_rate": 0.3}
        assert ask(trial_store) is None

    def test_a_grids_point_that_was_given_up_is_not_made_up_for(self):
        trial_store = make_trial_store(total=2, is_grid=True)
        for rate in (0.1, 0.2):
            trial_store.study.enqueue_trial({"optimizer.learning_rate": rate})
        ask(trial_store)
        trial_store.fail(last_running(trial_store), Failure("diverged", is_final=True), 3)
        assert trial_store.total == 1

    def test_points_that_wait_are_not_lost_to_a_lower_total(self):
        trial_store = make_trial_store(total=2, is_grid=True)
        for rate in (0.1, 0.2, 0.3, 0.4):
            trial_store.study.enqueue_trial({"optimizer.learning_rate": rate})
        for _ in range(2):
            trial_store.tell(ask(trial_store).number, TrialState.COMPLETE, [0.5])
        assert [ask(trial_store) for _ in range(3)] == [None] * 3
        larger = TrialStore(trial_store.study, trial_store.storage, 4, is_grid=True)
        rates = [ask(larger).params["optimizer.learning_rate"] for _ in range(2)]
        assert rates == [0.3, 0.4]

    def test_an_enqueued_trial_asked_for_too_many_times_is_enqueued_again(self, monkeypatch):
        trial_store = make_trial_store(total=1, is_grid=True)
        for rate in (0.1, 0.2):
            trial_store.study.enqueue_trial({"optimizer.learning_rate": rate})
        ask = trial_store.study.ask

        def ask_second():
            ask()
            return ask()

        monkeypatch.setattr(trial_store.study, "ask", ask_second)
        assert trial_store.ask(ME) is None
        assert [trial.system_attrs[FIXED_PARAMS] for trial in trial_store.trials() if trial.state == TrialState.WAITING] == [
            {"optimizer.learning_rate": 0.2}
        ]

    def test_a_point_put_in_twice_is_taken_once(self):
        trial_store = make_trial_store(total=2, is_grid=True)
        for _ in range(2):
            trial_store.study.enqueue_trial({"optimizer.learning_rate": 0.1})
        ask(trial_store)
        assert ask(trial_store) is None
        assert count(trial_store.trials()).waiting == 0


def last_running(trial_store):
    return next(trial for trial in reversed(trial_store.trials()) if trial.state == TrialState.RUNNING)


class TestFailing:
    def test_the_same_values_are_tried_again(self):
        trial_store = make_trial_store()
        trial = ask(trial_store)
        assert trial_store.fail(last_running(trial_store), BROKE, max_retries=1)
        again = ask(trial_store)
        assert again.params == trial.params
        assert last(trial_store).user_attrs[RETRY_OF] == trial.number
        assert trial_store.trials()[0].user_attrs[REASON] == "it broke"

    def test_until_the_retries_are_used_up(self):
        trial_store = make_trial_store()
        ask(trial_store)
        for attempt in range(3):
            assert retries(last_running(trial_store)) == attempt
            trial_store.fail(last_running(trial_store), BROKE, max_retries=2)
            if attempt < 2:
                ask(trial_store)
        assert count(trial_store.trials()).waiting == 0
        assert [trial.user_attrs[GIVEN_UP] for trial in trial_store.trials()] == [False, False, True]

    def test_what_would_fail_again_is_given_up_at_once(self):
        trial_store = make_trial_store()
        ask(trial_store)
        trial_store.fail(last_running(trial_store), Failure("diverged", is_final=True), max_retries=5)
        assert count(trial_store.trials()).waiting == 0
        assert last(trial_store).user_attrs[GIVEN_UP]

    def test_an_interrupt_is_no_retry(self):
        trial_store = make_trial_store()
        ask(trial_store)
        for _ in range(4):
            trial_store.fail(last_running(trial_store), Failure("interrupted", is_interrupt=True), max_retries=0)
            ask(trial_store)
        assert last(trial_store).user_attrs[RETRIES] == 0

    def test_only_the_first_to_tell_puts_the_trial_back(self):
        trial_store = make_trial_store()
        ask(trial_store)
        seen = last_running(trial_store)
        assert trial_store.fail(seen, BROKE, max_retries=9)
        assert not trial_store.fail(seen, BROKE, max_retries=9)
        assert count(trial_store.trials()).waiting == 1

    def test_a_death_between_enqueueing_and_failing_loses_nothing_and_doubles_nothing(self, monkeypatch):
        trial_store = make_trial_store(total=1)
        ask(trial_store)
        seen = last_running(trial_store)

        def die(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(trial_store, "tell", die)
        with pytest.raises(KeyboardInterrupt):
            trial_store.fail(seen, BROKE, max_retries=9)
        monkeypatch.undo()
        assert trial_store.fail(seen, BROKE, max_retries=9)
        assert count(trial_store.trials()).waiting == 1

    def test_a_retry_of_a_trial_that_finished_after_all_does_not_run(self):
        trial_store = make_trial_store(total=2)
        trial = ask(trial_store)
        add(trial_store, TrialState.WAITING, retry_of=trial.number)
        trial_store.tell(trial.number, TrialState.COMPLETE, [0.7])
        assert ask(trial_store) is None
        assert is_surplus(last(trial_store))
        assert ask(trial_store) is not None

    def test_a_finished_trial_cannot_be_failed(self):
        trial_store = make_trial_store()
        trial = ask(trial_store)
        seen = last_running(trial_store)
        assert trial_store.tell(trial.number, TrialState.COMPLETE, [0.7])
        assert not trial_store.fail(seen, BROKE, max_retries=9)
        assert last(trial_store).value == 0.7

    def test_a_trial_without_values_is_not_tried_again_but_its_place_is_free(self):
        trial_store = make_trial_store(total=1)
        trial_store.ask(ME)
        trial_store.fail(last_running(trial_store), BROKE, max_retries=9)
        assert count(trial_store.trials()).waiting == 0
        assert ask(trial_store) is not None

    def test_a_grids_point_keeps_its_values_even_before_they_were_asked_for(self):
        trial_store = make_trial_store(total=1, is_grid=True)
        trial_store.study.enqueue_trial({"optimizer.learning_rate": 0.3})
        trial_store.ask(ME)
        trial_store.fail(last_running(trial_store), BROKE, max_retries=1)
        assert last(trial_store).system_attrs[FIXED_PARAMS] == {"optimizer.learning_rate": 0.3}
        assert ask(trial_store).params == {"optimizer.learning_rate": 0.3}


@settings(max_examples=40)
@given(st.integers(1, 6), st.lists(st.sampled_from(["take", "finish", "prune", "fail", "interrupt"]), max_size=60), st.integers(0, 3))
def test_whatever_happens_the_total_is_never_passed_and_is_reached_by_going_on(total, events, max_retries):
    trial_store = make_trial_store(total=total)
    ends = {"finish": (TrialState.COMPLETE, [0.5]), "prune": (TrialState.PRUNED, None)}

    def happen(event):
        running = [trial for trial in trial_store.trials() if trial.state == TrialState.RUNNING]
        if event == "take":
            ask(trial_store)
        elif running and event in ends:
            trial_store.tell(running[0].number, *ends[event])
        elif running:
            trial_store.fail(running[0], Failure(event, is_interrupt=event == "interrupt"), max_retries)
        assert count(trial_store.trials()).finished <= total

    for event in events:
        happen(event)
    for _ in range(3 * total):
        happen("take")
        happen("finish")
    assert count(trial_store.trials()).finished == total


def test_counts_are_by_state_and_leave_surplus_trials_out():
    trial_store = make_trial_store()
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING):
        add(trial_store, state)
    add(trial_store, TrialState.FAIL, surplus=True)
    counts = count(trial_store.trials())
    assert (counts.complete, counts.pruned, counts.failed, counts.running, counts.waiting) == (1, 1, 1, 0, 1)
    assert counts.finished == 2


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_only_the_first_to_finish_a_trial_has_told_it(state):
    trial_store = make_trial_store()
    trial = ask(trial_store)
    assert trial_store.tell(trial.number, state, [0.1] if state == TrialState.COMPLETE else None)
    assert not trial_store.tell(trial.number, TrialState.FAIL)
    assert last(trial_store).state == state
