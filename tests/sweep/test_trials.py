"""Taking, finishing and failing trials: never more than the total, never twice, and nothing is lost."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from clickflow.sweep.trials import FIXED_PARAMS, GIVEN_UP, REASON, RETRIES, RETRY_OF, Book, Failure, count, is_surplus, retries
from clickflow.tracking.owner import Owner
from tests.sweep.books import RATE, add, make_book

ME = Owner.here()
BROKE = Failure("it broke")


def take(book):
    trial = book.take(ME)
    if trial is not None:
        trial.suggest_float("optimizer.learning_rate", RATE.low, RATE.high)
    return trial


def last(book):
    return book.trials()[-1]


class TestTaking:
    def test_a_trial_carries_who_took_it(self):
        book = make_book()
        trial = take(book)
        assert last(book).user_attrs["worker"] == {"host": ME.host, "pid": os.getpid(), "started": ME.started}
        assert trial.number == 0

    def test_no_more_are_taken_than_the_total(self):
        book = make_book(total=2)
        assert [take(book) is not None for _ in range(4)] == [True, True, False, False]

    def test_a_failed_trial_makes_room_for_another(self):
        book = make_book(total=1)
        book.finish(take(book).number, TrialState.FAIL)
        assert take(book) is not None

    def test_of_two_workers_that_both_saw_the_last_place_the_later_one_gives_its_trial_back(self, monkeypatch):
        book = make_book(total=1)
        ask = book.study.ask
        others = []

        def ask_second():  # another worker is faster between looking and asking
            others.append(ask())
            return ask()

        monkeypatch.setattr(book.study, "ask", ask_second)
        assert book.take(ME) is None
        assert is_surplus(last(book))
        assert count(book.trials()).running == 1
        assert count(book.trials()).failed == 0

    def test_a_grid_gives_only_what_was_put_into_it(self):
        book = make_book(total=5, is_grid=True)
        book.study.enqueue_trial({"optimizer.learning_rate": 0.3})
        assert take(book).params == {"optimizer.learning_rate": 0.3}
        assert take(book) is None

    def test_a_grids_point_that_was_given_up_is_not_made_up_for(self):
        book = make_book(total=2, is_grid=True)
        for rate in (0.1, 0.2):
            book.study.enqueue_trial({"optimizer.learning_rate": rate})
        take(book)
        book.fail(last_running(book), Failure("diverged", is_final=True), 3)
        assert book.total == 1

    def test_points_that_wait_are_not_lost_to_a_lower_total(self):
        book = make_book(total=2, is_grid=True)
        for rate in (0.1, 0.2, 0.3, 0.4):
            book.study.enqueue_trial({"optimizer.learning_rate": rate})
        for _ in range(2):
            book.finish(take(book).number, TrialState.COMPLETE, [0.5])
        assert [take(book) for _ in range(3)] == [None] * 3
        larger = Book(book.study, book.storage, 4, is_grid=True)
        rates = [take(larger).params["optimizer.learning_rate"] for _ in range(2)]
        assert rates == [0.3, 0.4]

    def test_a_waiting_trial_taken_too_many_is_put_back(self, monkeypatch):
        book = make_book(total=1, is_grid=True)
        for rate in (0.1, 0.2):
            book.study.enqueue_trial({"optimizer.learning_rate": rate})
        ask = book.study.ask

        def ask_second():
            ask()
            return ask()

        monkeypatch.setattr(book.study, "ask", ask_second)
        assert book.take(ME) is None
        assert [trial.system_attrs[FIXED_PARAMS] for trial in book.trials() if trial.state == TrialState.WAITING] == [
            {"optimizer.learning_rate": 0.2}
        ]

    def test_a_point_put_in_twice_is_taken_once(self):
        book = make_book(total=2, is_grid=True)
        for _ in range(2):
            book.study.enqueue_trial({"optimizer.learning_rate": 0.1})
        take(book)
        assert take(book) is None
        assert count(book.trials()).waiting == 0


def last_running(book):
    return next(trial for trial in reversed(book.trials()) if trial.state == TrialState.RUNNING)


class TestFailing:
    def test_the_same_values_are_tried_again(self):
        book = make_book()
        trial = take(book)
        assert book.fail(last_running(book), BROKE, max_retries=1)
        again = take(book)
        assert again.params == trial.params
        assert last(book).user_attrs[RETRY_OF] == trial.number
        assert book.trials()[0].user_attrs[REASON] == "it broke"

    def test_until_the_retries_are_used_up(self):
        book = make_book()
        take(book)
        for attempt in range(3):
            assert retries(last_running(book)) == attempt
            book.fail(last_running(book), BROKE, max_retries=2)
            if attempt < 2:
                take(book)
        assert count(book.trials()).waiting == 0
        assert [trial.user_attrs[GIVEN_UP] for trial in book.trials()] == [False, False, True]

    def test_what_would_fail_again_is_given_up_at_once(self):
        book = make_book()
        take(book)
        book.fail(last_running(book), Failure("diverged", is_final=True), max_retries=5)
        assert count(book.trials()).waiting == 0
        assert last(book).user_attrs[GIVEN_UP]

    def test_an_interrupt_is_no_retry(self):
        book = make_book()
        take(book)
        for _ in range(4):
            book.fail(last_running(book), Failure("interrupted", is_interrupt=True), max_retries=0)
            take(book)
        assert last(book).user_attrs[RETRIES] == 0

    def test_only_the_first_to_tell_puts_the_trial_back(self):
        book = make_book()
        take(book)
        seen = last_running(book)
        assert book.fail(seen, BROKE, max_retries=9)
        assert not book.fail(seen, BROKE, max_retries=9)
        assert count(book.trials()).waiting == 1

    def test_who_dies_between_putting_back_and_failing_loses_nothing_and_doubles_nothing(self, monkeypatch):
        book = make_book(total=1)
        take(book)
        seen = last_running(book)

        def die(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(book, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            book.fail(seen, BROKE, max_retries=9)
        monkeypatch.undo()
        assert book.fail(seen, BROKE, max_retries=9)
        assert count(book.trials()).waiting == 1

    def test_what_was_put_back_though_it_finished_is_not_tried_again(self):
        book = make_book(total=2)
        trial = take(book)
        add(book, TrialState.WAITING, retry_of=trial.number)
        book.finish(trial.number, TrialState.COMPLETE, [0.7])
        assert take(book) is None
        assert is_surplus(last(book))
        assert take(book) is not None

    def test_a_finished_trial_cannot_be_failed(self):
        book = make_book()
        trial = take(book)
        seen = last_running(book)
        assert book.finish(trial.number, TrialState.COMPLETE, [0.7])
        assert not book.fail(seen, BROKE, max_retries=9)
        assert last(book).value == 0.7

    def test_a_trial_without_values_is_not_tried_again_but_its_place_is_free(self):
        book = make_book(total=1)
        book.take(ME)
        book.fail(last_running(book), BROKE, max_retries=9)
        assert count(book.trials()).waiting == 0
        assert take(book) is not None

    def test_a_grids_point_keeps_its_values_even_before_they_were_asked_for(self):
        book = make_book(total=1, is_grid=True)
        book.study.enqueue_trial({"optimizer.learning_rate": 0.3})
        book.take(ME)
        book.fail(last_running(book), BROKE, max_retries=1)
        assert last(book).system_attrs[FIXED_PARAMS] == {"optimizer.learning_rate": 0.3}
        assert take(book).params == {"optimizer.learning_rate": 0.3}


@settings(max_examples=40)
@given(st.integers(1, 6), st.lists(st.sampled_from(["take", "finish", "prune", "fail", "interrupt"]), max_size=60), st.integers(0, 3))
def test_whatever_happens_the_total_is_never_passed_and_is_reached_by_going_on(total, events, max_retries):
    book = make_book(total=total)
    ends = {"finish": (TrialState.COMPLETE, [0.5]), "prune": (TrialState.PRUNED, None)}

    def happen(event):
        running = [trial for trial in book.trials() if trial.state == TrialState.RUNNING]
        if event == "take":
            take(book)
        elif running and event in ends:
            book.finish(running[0].number, *ends[event])
        elif running:
            book.fail(running[0], Failure(event, is_interrupt=event == "interrupt"), max_retries)
        assert count(book.trials()).finished <= total

    for event in events:
        happen(event)
    for _ in range(3 * total):
        happen("take")
        happen("finish")
    assert count(book.trials()).finished == total


def test_counts_are_by_state_and_leave_surplus_trials_out():
    book = make_book()
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING):
        add(book, state)
    add(book, TrialState.FAIL, surplus=True)
    counts = count(book.trials())
    assert (counts.complete, counts.pruned, counts.failed, counts.running, counts.waiting) == (1, 1, 1, 0, 1)
    assert counts.finished == 2


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_only_the_first_to_finish_a_trial_has_told_it(state):
    book = make_book()
    trial = take(book)
    assert book.finish(trial.number, state, [0.1] if state == TrialState.COMPLETE else None)
    assert not book.finish(trial.number, TrialState.FAIL)
    assert last(book).state == state
