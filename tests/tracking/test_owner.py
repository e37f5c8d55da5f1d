"""Who works on a run, and whether they still do."""

import os
import subprocess
import sys

import pytest

from clickflow.tracking.lifecycle import open_run, reopen_run
from clickflow.tracking.owner import Owner
from clickflow.tracking.search import read_run

ME = Owner.here()


def test_this_process_is_alive():
    assert ME.is_alive()
    assert ME.is_here
    assert ME.pid == os.getpid()


def test_a_later_process_with_the_same_id_is_another():
    assert not Owner(ME.host, ME.pid, ME.started - 100).is_alive()


def test_a_dead_process_is_dead_even_before_its_parent_looks():
    child = subprocess.Popen([sys.executable, "-c", ""])
    owner = Owner(ME.host, child.pid, ME.started)
    child.wait()
    assert not owner.is_alive()


def test_another_machines_process_is_not_here():
    assert not Owner("elsewhere-1", ME.pid, ME.started).is_here


def test_an_owner_is_read_back_from_the_tags_of_its_run():
    assert Owner.of_run(ME.tags) == ME


@pytest.mark.parametrize("tags", [{}, {"process.host": "a"}, {"process.host": "a", "process.pid": "x", "process.started": "1.0"}])
def test_tags_that_do_not_say_who_name_nobody(tags):
    assert Owner.of_run(tags) is None


def test_every_run_says_who_opened_it_and_on_what_processor(store):
    with open_run(store, name="n", params={}, tags={}, log_system_metrics=False) as run:
        assert Owner.of_run(read_run(run.store, run.id).tags) == ME
        assert read_run(run.store, run.id).tags["machine.cpu"].endswith(")")
    store.client.set_tag(run.id, "process.pid", "1")
    with reopen_run(store, run.id):
        assert Owner.of_run(read_run(run.store, run.id).tags) == ME
