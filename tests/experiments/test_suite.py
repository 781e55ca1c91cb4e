"""What a suite's config asks of a scheduler."""

import pytest

from nls.experiments import load_suite
from nls.experiments.common import Resources


def test_a_repeated_job_asks_for_more_up_to_what_partitions_allow():
    asked = Resources(mem_mb=2000, runtime=30)
    assert [asked.memory_of(attempt) for attempt in (1, 2, 3)] == [2000, 4000, 6000]
    assert [asked.runtime_of(attempt, longest=50) for attempt in (1, 2, 3)] == [30, 50, 50]
    assert asked.runtime_of(1, longest=20) == 30


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"#\n"])
def test_a_spec_that_is_damaged_on_the_disk_is_written_again(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    suite = load_suite({"suite": "s", "experiments": {"figure1": {}}}, "a test")
    suite.write_specs()
    path = tmp_path / "results/s/specs/figure1/linf.yaml"
    whole = path.read_bytes()
    assert suite.has_written("figure1", path.stem)
    path.write_bytes(damage + whole)
    assert not suite.has_written("figure1", path.stem)
    suite.write_specs()
    assert path.read_bytes() == whole
