"""Where studies lie: a journal that outlives its writers' deaths, and databases that cannot be reached."""

import multiprocessing
import os
import signal
import socket
import time
from collections import Counter

import optuna
import pytest

from clickflow.errors import TrackingError
from clickflow.sweep.study_storage import GRACE_SECONDS, JournalLock, open_storage, storage_faults, study_folder


def journal_of(home):
    return study_folder(home, "study") / "journal.log"


def make_study(home):
    return optuna.create_study(study_name="study", storage=open_storage(None, home, "study"), load_if_exists=True)


def hold_the_lock(path, held):
    JournalLock(path).acquire()
    held.set()
    time.sleep(60)


def write_trials(home, number):
    study = make_study(home)
    for _ in range(20):
        study.add_trial(optuna.trial.create_trial(value=float(number)))


def test_a_journal_lies_in_the_studys_folder_and_is_read_by_the_next_process(tmp_path):
    make_study(tmp_path).add_trial(optuna.trial.create_trial(value=1.0))
    assert journal_of(tmp_path) == tmp_path / "sweeps" / "study" / "journal.log"
    assert len(make_study(tmp_path).trials) == 1


@pytest.mark.slow
def test_a_worker_killed_with_the_lock_stops_the_others_for_the_grace_period_only(tmp_path, monkeypatch):
    study = make_study(tmp_path)
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    owner = context.Process(target=hold_the_lock, args=(journal_of(tmp_path), held))
    owner.start()
    assert held.wait(60)
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    lock_file = journal_of(tmp_path).with_name("journal.log.lock")
    assert lock_file.exists()
    waited = []
    sleep = time.sleep
    monkeypatch.setattr("optuna.storages.journal._file.time.sleep", lambda seconds: (waited.append(seconds), sleep(seconds)))
    study.set_user_attr("written", True)
    assert GRACE_SECONDS - 1 < sum(waited) < GRACE_SECONDS + 2  # seconds asked for, not measured; Optuna's own grace period: 30
    assert not lock_file.exists()
    assert make_study(tmp_path).user_attrs == {"written": True}


def test_a_writer_that_lost_the_lock_by_being_slow_goes_on(tmp_path):
    make_study(tmp_path)
    slow, other = JournalLock(journal_of(tmp_path)), JournalLock(journal_of(tmp_path))
    slow.acquire()
    other.release()
    slow.release()
    make_study(tmp_path).set_user_attr("written", True)
    assert make_study(tmp_path).user_attrs == {"written": True}


@pytest.mark.slow
def test_several_processes_write_at_once_without_losing_a_line(tmp_path):
    make_study(tmp_path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_trials, args=(tmp_path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert Counter(trial.value for trial in make_study(tmp_path).trials) == {0.0: 20, 1.0: 20, 2.0: 20}


@pytest.mark.parametrize("half", [b'{"op_code":', b'{"op_code": 1}', b"x"])
def test_half_a_line_that_a_full_disk_left_is_cut_off_by_the_next_writer(tmp_path, half):
    make_study(tmp_path).add_trial(optuna.trial.create_trial(value=1.0))
    with journal_of(tmp_path).open("ab") as journal:
        journal.write(half)
    make_study(tmp_path).add_trial(optuna.trial.create_trial(value=2.0))
    assert [trial.value for trial in make_study(tmp_path).trials] == [1.0, 2.0]


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    journal_of(tmp_path).parent.mkdir(parents=True)
    journal_of(tmp_path).write_text("no\njournal\n")
    with pytest.raises(
        TrackingError, match=r"sweep\.storage = .*journal\.log: is not a study's journal .*set sweep\.study_name to a new name"
    ):
        open_storage(None, tmp_path, "study")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "sweeps").write_text("a file")
    with pytest.raises(TrackingError, match=r"sweep\.storage = .*cannot be written .*set home=FOLDER"):
        open_storage(None, tmp_path, "study")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nonsense", r"sweep\.storage = nonsense: no database URI; allowed: null for a journal file"),
        ("sqlite:///study.db", r"sweep\.storage = sqlite:///study\.db: SQLite fails under several workers; allowed"),
        ("oracle://host/db", r"sweep\.storage = oracle://host/db: not a database that sweeps are kept in; allowed"),
    ],
)
def test_a_storage_that_is_no_place_for_studies_is_refused(tmp_path, uri, message):
    with pytest.raises(TrackingError, match=message):
        open_storage(uri, tmp_path, "study")


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(
        TrackingError, match=r"sweep\.storage = postgresql\+psycopg://me:\*\*\*@127\.0\.0\.1:\d+/db: cannot be opened"
    ) as caught:
        open_storage(f"postgresql+psycopg://me:secret@127.0.0.1:{port}/db", tmp_path, "study")
    assert "secret" not in str(caught.value)


def test_a_storage_that_fails_in_use_is_told_as_one_message(tmp_path):
    study = make_study(tmp_path)
    with journal_of(tmp_path).open("ab") as journal:
        journal.write(b"garbage\n{}\n")
    message = r"sweep\.storage = null: failed while it was in use \(JSONDecodeError.*the same command carries on"
    with pytest.raises(TrackingError, match=message), storage_faults(None):
        study.get_trials()
