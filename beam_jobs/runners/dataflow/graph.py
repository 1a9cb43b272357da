"""Checks the graph of a Dataflow job before submission."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from beam_jobs.runners.options import Build
from stage.extras import install_extra

#: The service's limit of a job graph, which grows with the number of shards.
MAX_GRAPH_BYTES = 10_000_000


def check(build: Build, options: PipelineOptions, *, may_shuffle: bool = False) -> None:
    """Checks the graph of a dry run, which needs no network and changes no options.

    Raises:
        ValueError: If a stage needs another environment than the given container or,
            unless it may, would shuffle its output, or the graph is too large.
    """
    dry = copy.deepcopy(options)
    dry.view_as(TestOptions).dry_run = True
    pipeline = beam.Pipeline(options=dry)
    build(pipeline)
    try:
        graph = pipeline.run().job.proto_pipeline
    except ImportError as error:
        raise ValueError(f"Dataflow needs {install_extra('gcp')}: {error}") from error
    _check_environment(graph, options.view_as(WorkerOptions).sdk_container_image)
    if not may_shuffle:
        _check_shuffles(graph)
    if graph.ByteSize() > MAX_GRAPH_BYTES:
        raise ValueError(
            f"expected a job graph of at most {MAX_GRAPH_BYTES:,} bytes, got "
            f"{graph.ByteSize():,}: pack the images into fewer, larger TFRecords"
        )


def _check_environment(graph: Any, image: str) -> None:
    payload_type = beam_runner_api_pb2.DockerPayload
    found = [
        payload_type.FromString(environment.payload).container_image
        for environment in graph.components.environments.values()
    ]
    if found != [image]:
        raise ValueError(
            f"expected one environment for all stages, {image}, got "
            f"{len(found)}: {', '.join(sorted(found))}; stages of several "
            "environments are not fused, so their outputs would cross a shuffle"
        )


def _check_shuffles(graph: Any) -> None:
    """Raises if anything but the list of shards would cross a shuffle."""
    transforms = graph.components.transforms
    start = set(_starting_transforms(transforms, graph.root_transform_ids))
    producers = {
        output: name
        for name, transform in transforms.items()
        if not transform.subtransforms
        for output in transform.outputs.values()
    }
    for name, transform in transforms.items():
        if transform.spec.urn != common_urns.primitives.GROUP_BY_KEY.urn:
            continue
        late = {name, *_upstream(name, transforms, producers)} - start
        if late:
            stages = sorted(transforms[stage].unique_name for stage in late)
            raise ValueError(
                f"{transform.unique_name} would shuffle the output of {stages[0]}; "
                "only the list of shards may cross a shuffle"
            )


def _starting_transforms(transforms: Any, roots: Collection[str]) -> Iterator[str]:
    """Yields the transforms inside of whatever begins with an Impulse, and Reshuffles.

    Such are `beam.Create` and the list of shards; the root contains everything.
    """
    for name, transform in transforms.items():
        if name in roots:
            continue
        leaves = list(_leaves(transform, transforms))
        is_source = any(
            transforms[leaf].spec.urn == common_urns.primitives.IMPULSE.urn
            for leaf in leaves
        )
        if is_source or transform.spec.urn == common_urns.composites.RESHUFFLE.urn:
            yield from leaves


def _leaves(transform: Any, transforms: Any) -> Iterator[str]:
    for name in transform.subtransforms:
        if transforms[name].subtransforms:
            yield from _leaves(transforms[name], transforms)
        else:
            yield name


def _upstream(name: str, transforms: Any, producers: dict[str, str]) -> Iterator[str]:
    for source in transforms[name].inputs.values():
        yield producers[source]
        yield from _upstream(producers[source], transforms, producers)
