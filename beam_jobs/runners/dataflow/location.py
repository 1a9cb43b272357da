"""Where the jobs of a project and region are looked at, and commands for them."""

from __future__ import annotations

import dataclasses

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

_CONSOLE = "https://console.cloud.google.com/dataflow/jobs"


@dataclasses.dataclass(frozen=True)
class DataflowLocation:
    """The project and the region of jobs."""

    project: str
    region: str

    @classmethod
    def of(cls, options: PipelineOptions) -> DataflowLocation:
        """Returns the location that Beam's options name."""
        cloud = options.view_as(GoogleCloudOptions)
        return cls(project=cloud.project, region=cloud.region)

    def page(self, job_id: str) -> str:
        """Returns the address of a job's page."""
        return f"{_CONSOLE}/{self.region}/{job_id}?project={self.project}"

    def cancel_command(self, job_id: str) -> str:
        """Returns the command that ends a job."""
        return f"gcloud dataflow jobs cancel {job_id} {self._flags}"

    @property
    def list_command(self) -> str:
        """The command that shows the active jobs."""
        return f"gcloud dataflow jobs list {self._flags} --status=active"

    def find_command(self, name: str) -> str:
        """Returns the command that shows whether a job of this name is active."""
        return f"{self.list_command} --filter=name={name}"

    def log_command(self, job_id: str) -> str:
        """Returns the command that shows the errors in the logs of a job's workers."""
        return (
            'gcloud logging read \'resource.type="dataflow_step" AND '
            f'resource.labels.job_id="{job_id}" AND severity>=ERROR\' '
            f"--project={self.project} --limit=20 "
            "--format='value(textPayload,jsonPayload.message)'"
        )

    @property
    def _flags(self) -> str:
        return f"--region={self.region} --project={self.project}"
