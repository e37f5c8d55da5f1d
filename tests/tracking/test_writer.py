import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickflow.errors import TrackingError
from clickflow.tracking.writer import MetricWriter


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=8), st.sampled_from([0.0, 10.0]))
def test_all_metrics_arrive_once_in_order_in_requests_of_at_most_1000(sizes, interval_seconds):
    requests = []
    writer = MetricWriter(requests.append, "r", interval_seconds)
    for step, size in enumerate(sizes):
        writer.put({f"m{i}": float(i) for i in range(size)}, step)
    writer.close()
    assert all(0 < len(request) <= 1000 for request in requests)
    written = [(metric.step, metric.key, metric.value) for request in requests for metric in request]
    assert written == [(step, f"m{i}", i) for step, size in enumerate(sizes) for i in range(size)]


def test_entries_of_an_interval_share_a_request():
    requests = []
    writer = MetricWriter(requests.append, "r", interval_seconds=30)
    for step in range(50):
        writer.put({"loss": 1.0}, step)
    writer.flush()
    assert [len(request) for request in requests] == [50]
    writer.close()


def test_entry_is_written_after_the_interval_without_being_asked():
    written = threading.Event()
    writer = MetricWriter(lambda metrics: written.set(), "r", interval_seconds=0.01)
    writer.put({"loss": 1.0}, 0)
    assert written.wait(5)
    writer.close()


def test_slow_store_does_not_hold_up_the_caller():
    release, ended = threading.Event(), []
    writer = MetricWriter(lambda metrics: ended.append(release.wait(30)), "r", interval_seconds=0)
    for step in range(100):
        writer.put({"loss": 1.0}, step)
    assert ended == []  # all is put while the first write is still on
    release.set()
    writer.close()
    assert all(ended)


def test_failed_write_is_raised_at_the_next_call_and_at_the_end():
    def refuse(metrics):
        raise OSError("disk full")

    writer = MetricWriter(refuse, "r", interval_seconds=0)
    writer.put({"loss": 1.0}, 0)
    for call in (writer.flush, lambda: writer.put({"loss": 1.0}, 1), writer.close):
        with pytest.raises(TrackingError, match=r"^run r: metrics could not be written \(OSError: disk full\); check the tracking store$"):
            call()
    writer._thread.join(30)
    assert not writer._thread.is_alive()


def test_closed_writer_takes_no_more():
    writer = MetricWriter(lambda metrics: None, "r")
    writer.close()
    writer.close()
    writer.flush()
    with pytest.raises(TrackingError, match="it has ended"):
        writer.put({"loss": 1.0}, 0)
