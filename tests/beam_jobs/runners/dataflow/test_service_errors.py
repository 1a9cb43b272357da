import pytest
import requests
from apache_beam.runners.dataflow.internal.apiclient import (
    DataflowJobAlreadyExistsError,
)
from google.api_core import exceptions
from google.auth.exceptions import (
    DefaultCredentialsError,
    RefreshError,
    TransportError,
)

from beam_jobs.runners.dataflow import service_errors
from beam_jobs.runners.dataflow.location import DataflowLocation

LOCATION = DataflowLocation(project="my-project", region="europe-west4")


@pytest.mark.parametrize(
    ("error", "start", "advice"),
    [
        (DefaultCredentialsError("no"), "no login", "application-default login"),
        (RefreshError("Reauthentication"), "the login", "application-default login"),
        (TransportError("no route"), "Google does not answer", "no route"),
        (exceptions.Unauthenticated("no"), "the login", "application-default login"),
        (exceptions.PermissionDenied("actAs"), "permission", "serviceAccountUser"),
        (exceptions.PermissionDenied("storage.objects.get"), "permission", "roles"),
        (exceptions.Forbidden("SERVICE_DISABLED"), "an API", "services enable"),
        (exceptions.NotFound("bucket"), "not found", "bucket"),
        (exceptions.AlreadyExists("birds"), "a job of this name", "jobs list"),
        (DataflowJobAlreadyExistsError("birds"), "a job of this name", "jobs list"),
        (exceptions.ResourceExhausted("25 jobs"), "a quota", "25 jobs"),
        (
            exceptions.ServiceUnavailable(
                "Getting metadata from plugin failed with error: invalid_grant"
            ),
            "the login",
            "invalid_grant): unless the connection is lost, run gcloud auth",
        ),
        (exceptions.ServiceUnavailable("busy"), "Dataflow does not answer", "503"),
        (requests.ConnectionError("reset"), "Dataflow does not answer", "reset"),
        (ConnectionResetError("reset"), "Dataflow does not answer", "reset"),
    ],
)
def test_an_error_is_one_line_with_advice(error, start, advice):
    with (
        pytest.raises(RuntimeError) as found,
        service_errors.as_one_line(LOCATION, more="the job goes on"),
    ):
        raise error
    line = str(found.value)
    assert line.startswith(start)
    assert advice in line
    assert line.endswith("; the job goes on")


def test_other_errors_stay_as_they_are():
    with pytest.raises(KeyError), service_errors.as_one_line(LOCATION):
        raise KeyError
