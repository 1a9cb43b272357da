"""Dry runs, without a network."""

import json
import socket

import apache_beam as beam
import pytest

from beam_jobs.runners.dataflow import graph
from tests.beam_jobs.runners.dataflow.jobs import IMAGE, filled, labeling


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a dry run needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_the_labeling_job_passes_offline_and_its_options_stay():
    found = filled()
    before = json.dumps(found.get_all_options(), sort_keys=True, default=str)
    graph.check(labeling, found)
    after = json.dumps(found.get_all_options(), sort_keys=True, default=str)
    assert after == before


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "stage",
    [
        beam.Reshuffle(),
        beam.combiners.Count.Globally(),
        beam.GroupBy(lambda index: index),
    ],
)
def test_a_shuffle_of_the_output_of_a_stage_is_refused(stage):
    def build(pipeline):
        _ = labeling(pipeline) | "Shuffle" >> stage

    with pytest.raises(ValueError, match=r"Shuffle.*Label"):
        graph.check(build, filled())


@pytest.mark.usefixtures("no_network")
def test_a_job_may_be_allowed_to_shuffle():
    def build(pipeline):
        _ = labeling(pipeline) | beam.combiners.Count.Globally()

    graph.check(build, filled(), may_shuffle=True)


@pytest.mark.usefixtures("no_network")
def test_a_stage_in_another_environment_is_refused():
    def build(pipeline):
        hinted = beam.Map(lambda index: index).with_resource_hints(min_ram="24GB")
        _ = labeling(pipeline) | "Again" >> hinted

    with pytest.raises(ValueError, match=f"{IMAGE}.* 2: "):
        graph.check(build, filled())


@pytest.mark.usefixtures("no_network")
def test_a_graph_too_large_to_submit_is_refused(monkeypatch):
    monkeypatch.setattr(graph, "MAX_GRAPH_BYTES", 10_000)
    with pytest.raises(ValueError, match="10,000"):
        graph.check(labeling, filled())
