"""What a suite's config asks of a scheduler."""

from nls.experiments.common import Resources


def test_a_repeated_job_asks_for_more_up_to_what_partitions_allow():
    asked = Resources(mem_mb=2000, runtime=30)
    assert [asked.memory_of(attempt) for attempt in (1, 2, 3)] == [2000, 4000, 6000]
    assert [asked.runtime_of(attempt, longest=50) for attempt in (1, 2, 3)] == [30, 50, 50]
    assert asked.runtime_of(1, longest=20) == 30
