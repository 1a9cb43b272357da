"""What gcloud's answers must have so that the checks can read them.

gcloud can end with status 0 and yet print nothing, null or a part of what was asked
for. The checks do not look for that: what does not fit here reaches them as an answer
without a value, with the reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from stage.typed_json import Condition
from workflow.dataflow.findings import NOT_UNDERSTOOD, Answer, Answers

#: What a value fulfils, the shape of a list's items, or those of an object's values by
#: key; an object has further keys, and may lack those that end in a question mark.
Shape: TypeAlias = "Condition | list[Shape] | dict[str, Shape]"

_ANYTHING = Condition(lambda _: True, "anything")
_TEXT = Condition(lambda value: isinstance(value, str), "a string")
_FLAG = Condition(lambda value: isinstance(value, bool), "true or false")
_NUMBER = Condition(
    lambda value: type(value) in (int, float) and math.isfinite(value), "a number"
)
#: Google's APIs write those of 64 bits as strings.
_WHOLE_NUMBER = Condition(
    lambda value: bool(re.fullmatch("[0-9]{1,19}", str(value))), "a whole number"
)
_QUOTAS: Shape = {"quotas": [{"metric": _TEXT, "limit": _NUMBER, "usage": _NUMBER}]}
_POLICY: Shape = {"etag": _TEXT, "bindings?": [{"role": _TEXT, "members?": [_TEXT]}]}
_BUCKET: Shape = {
    "location": _TEXT,
    "locationType?": _TEXT,
    "projectNumber?": _WHOLE_NUMBER,
    "customPlacementConfig?": {"dataLocations?": [_TEXT]},
    "softDeletePolicy?": {"retentionDurationSeconds?": _WHOLE_NUMBER},
    "iamConfiguration?": {"uniformBucketLevelAccess?": {"enabled?": _FLAG}},
}
#: By query. A key that no check reads tells the answer from an empty one.
SHAPES: dict[str, Shape] = {
    "account": [{"account": _TEXT}],
    "application_login": _ANYTHING,
    "regions": [{"name": _TEXT}],
    "project": {"lifecycleState": _TEXT, "projectNumber?": _WHOLE_NUMBER},
    "billing": {"name": _TEXT, "billingEnabled?": _FLAG, "billingAccountName?": _TEXT},
    "services": [{"config": {"name": _TEXT}}],
    "bucket": _BUCKET,
    "images_bucket": _BUCKET,
    "account_there": {"email": _TEXT, "disabled?": _FLAG},
    "project_roles": _POLICY,
    "bucket_roles": _POLICY,
    "images_roles": _POLICY,
    "account_roles": _POLICY,
    "repository_roles": _POLICY,
    "subnet": {"name": _TEXT, "privateIpGoogleAccess?": _FLAG},
    "region": _QUOTAS,
    "all_regions": _QUOTAS,
    "machine_types": [{"zone": _TEXT, "guestCpus": _WHOLE_NUMBER}],
    "accelerator_types": [{"zone": _TEXT}],
    "image": {"image_summary": {}},
    "repository": {"format": _TEXT},
    "builder": {"serviceAccountEmail": _TEXT},
}


def understood(answers: Answers) -> Answers:
    """Returns answers, those of another shape as ones without a value."""
    return {name: _understood(each, SHAPES[name]) for name, each in answers.items()}


def _understood(answer: Answer, shape: Shape) -> Answer:
    misfits = iter(()) if answer.reason else _misfits(answer.value, shape)
    for place, expected in misfits:
        where = f"{place.removeprefix('.')}: " if place else ""
        return Answer(reason=f"{NOT_UNDERSTOOD}: {where}expected {expected}")
    return answer


def _misfits(value: Any, shape: Shape, place: str = "") -> Iterator[tuple[str, str]]:
    """Yields where a value is not of a shape, and what is expected there.

    Not what is there instead, which could read as an error that gcloud reports.
    """
    if isinstance(shape, Condition):
        if not shape.holds(value):
            yield place, shape.expected
    elif isinstance(shape, list) and isinstance(value, list):
        for i, item in enumerate(value):
            yield from _misfits(item, shape[0], f"{place}[{i}]")
    elif isinstance(shape, dict) and isinstance(value, dict):
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name in value or name == key:
                yield from _misfits(value.get(name), inner, f"{place}.{name}")
    else:
        yield place, "a list" if isinstance(shape, list) else "an object"
