"""Errors of Google's services as one line that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import requests
from apache_beam.runners.dataflow.internal.apiclient import (
    DataflowJobAlreadyExistsError,
)
from apache_beam.utils.retry import PermanentException
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import (
    DefaultCredentialsError,
    GoogleAuthError,
    TransportError,
)

from beam_jobs.runners.dataflow.location import DataflowLocation

_LOGIN = "run gcloud auth application-default login"
#: What gRPC says, as of an unavailable service, if a login cannot be renewed.
_NOT_RENEWED = "Getting metadata from plugin failed"
_ERRORS = (
    GoogleAPICallError,
    GoogleAuthError,
    PermanentException,
    requests.RequestException,
    ConnectionError,
    TimeoutError,
)


@contextlib.contextmanager
def as_one_line(
    location: DataflowLocation, *, more: str = "", if_unanswered: str = ""
) -> Iterator[None]:
    """Raises RuntimeError for an error of a service; `more` ends its message.

    So does `if_unanswered`, if the service may have done what it was asked for.
    """
    try:
        yield
    except _ERRORS as error:
        parts = [explain(error, location), more]
        if _is_unanswered(error):
            parts.append(if_unanswered)
        raise RuntimeError("; ".join(filter(None, parts))) from error


def _is_unanswered(error: Exception) -> bool:
    if isinstance(error, GoogleAPICallError):
        return (error.code or 500) >= 500
    return not isinstance(error, (GoogleAuthError, PermanentException))


def explain(error: Exception, location: DataflowLocation) -> str:
    """Returns what went wrong and what to do."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    if isinstance(error, DefaultCredentialsError):
        return f"no login for Google Cloud: {_LOGIN}"
    if isinstance(error, TransportError):
        return f"Google does not answer ({text})"
    if isinstance(error, GoogleAuthError):
        return f"the login for Google Cloud has failed ({text}): {_LOGIN}"
    if isinstance(error, DataflowJobAlreadyExistsError):
        return _already_active(text, location)
    if not isinstance(error, GoogleAPICallError):
        return f"Dataflow does not answer ({text})"
    return _explain_status(error.code or 0, text, location)


def _explain_status(status: int, text: str, location: DataflowLocation) -> str:
    explanations = {
        400: f"Dataflow refuses the request: {text}",
        401: f"the login for Google Cloud is not valid ({text}): {_LOGIN}",
        403: _forbidden(text, location),
        404: f"not found: {text}",
        409: _already_active(text, location),
        429: f"a quota is used up: {text}; try again later, or request more",
    }
    if status in explanations:
        return explanations[status]
    if _NOT_RENEWED in text:
        return (
            f"the login for Google Cloud cannot be renewed ({text}): unless the "
            f"connection is lost, {_LOGIN}"
        )
    return f"Dataflow does not answer (status {status}: {text})"


def _already_active(text: str, location: DataflowLocation) -> str:
    return f"a job of this name is active already: {text}; see {location.list_command}"


def _forbidden(text: str, location: DataflowLocation) -> str:
    if "actAs" in text:
        return (
            "permission to use the workers' account is missing, role "
            f"iam.serviceAccountUser: {text}"
        )
    if "SERVICE_DISABLED" in text or "has not been used" in text:
        return (
            "an API is not enabled: gcloud services enable dataflow.googleapis.com "
            f"--project={location.project} ({text})"
        )
    return f"permission is missing: {text}; docs/dataflow.md lists the roles"
