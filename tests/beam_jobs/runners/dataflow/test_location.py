import shlex

from beam_jobs.runners.dataflow.location import DataflowLocation

LOCATION = DataflowLocation(project="my-project", region="europe-west4")
FLAGS = ["--region=europe-west4", "--project=my-project"]


def test_commands_are_words_of_a_shell():
    cancel = shlex.split(LOCATION.cancel_command("job-1"))
    assert cancel == ["gcloud", "dataflow", "jobs", "cancel", "job-1", *FLAGS]
    show = shlex.split(LOCATION.find_command("birds"))
    assert show[4:] == [*FLAGS, "--status=active", "--filter=name=birds"]
    query = shlex.split(LOCATION.log_command("job-1"))[3]
    assert 'resource.labels.job_id="job-1" AND severity>=ERROR' in query
