import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from beam_jobs.runners import options as beam_options

FLINK = ("--runner=FlinkRunner", "--job_endpoint=localhost:8099")


def parse(*arguments):
    return beam_options.parse(["program", *arguments])


def direct(options):
    found = options.view_as(DirectOptions)
    return found.direct_num_workers, found.direct_running_mode


@pytest.mark.parametrize("arguments", [(), ("--runner=DirectRunner",)])
def test_a_local_run_names_the_runner_that_reads_the_direct_options(arguments):
    options = parse(*arguments, "--direct_num_workers=2")
    assert options.view_as(StandardOptions).runner == "FnApiRunner"
    assert direct(options)[0] == 2
    assert beam_options.is_local(options)
    assert not beam_options.is_dataflow(options)


def test_another_runner_stays_and_may_have_options_of_its_own():
    options = parse(*FLINK, "--checkpointing_interval=1000")
    assert options.view_as(StandardOptions).runner == "FlinkRunner"
    assert not beam_options.is_local(options)


@pytest.mark.parametrize("runner", ["FnApiRunner", "DataflowRunner"])
@pytest.mark.parametrize("argument", ["--direct_num_worker=2", "--bogus"])
def test_an_unknown_option_is_refused(runner, argument):
    with pytest.raises(ValueError, match=argument.partition("=")[0]):
        parse(f"--runner={runner}", argument)


def test_an_option_like_an_unknown_one_is_named():
    with pytest.raises(ValueError, match="did you mean --direct_num_workers"):
        parse("--direct_num_worker=2")


@pytest.mark.parametrize("runner", ["FnApiRunner", "DataflowRunner", "FlinkRunner"])
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--max_num_workers=abc", "--max_num_workers: invalid int value: 'abc'"),
        ("--job_server_timeout=x: error: y", "--job_server_timeout.*'x: error: y'"),
        ("--flexrs_goal=FAST", "--flexrs_goal: invalid choice: 'FAST'"),
        ("--max_num_workers", "--max_num_workers: expected one argument"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_one_line(
    capfd, runner, argument, expected
):
    with pytest.raises(ValueError, match=f"^Beam's option {expected}") as error:
        parse(f"--runner={runner}", "--job_endpoint=localhost:8099", argument)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


#: Names of Google's pages beside those of Beam's, for options that Beam declares twice.
BOTH_NAMES = [
    ("disk_type", "worker_disk_type", "pd-ssd"),
    ("machine_type", "worker_machine_type", "n2-standard-8"),
    ("experiments", "experiment", ["shuffle_mode=service"]),
    ("labels", "label", ["team=birds"]),
    ("dataflow_service_options", "dataflow_service_option", ["enable_x"]),
]


@pytest.mark.parametrize(("name", "other", "value"), BOTH_NAMES)
def test_an_option_has_every_name_that_beam_declares(name, other, value):
    text = value if isinstance(value, str) else value[0]
    for flag in (name, other):
        options = parse("--runner=DataflowRunner", f"--{flag}={text}")
        assert options.get_all_options()[name] == value


def test_switches_have_both_names():
    for flag in ("--no_use_public_ips", "--use_public_ips"):
        parse("--runner=DataflowRunner", flag)


def test_threads_that_lose_rows_are_refused():
    with pytest.raises(ValueError, match="multi_processing, got multi_threading"):
        parse("--direct_running_mode=multi_threading")
    parse(*FLINK, "--direct_running_mode=multi_threading")


@pytest.mark.parametrize("argument", ["runs/demo", "-x"])
def test_an_argument_that_is_no_option_is_refused(argument):
    with pytest.raises(ValueError, match=rf"--name=value.*{argument}"):
        parse(argument)


@pytest.mark.parametrize("argument", ["-max_hours=1", "runs/demo"])
def test_an_argument_after_an_option_that_is_no_option_is_refused(argument):
    with pytest.raises(ValueError, match=rf"--name=value.*{argument}"):
        parse("--direct_num_workers=1", argument)


def test_the_value_of_an_option_may_be_a_word_of_its_own():
    assert direct(parse("--direct_num_workers", "2"))[0] == 2


def test_switches_may_be_turned_off():
    parse("--no_save_main_session")


def test_zero_workers_are_as_many_as_cores(monkeypatch):
    monkeypatch.setattr(beam_options, "num_cores", lambda: 7)
    assert direct(parse("--direct_num_workers=0"))[0] == 7


@pytest.mark.parametrize(
    ("arguments", "units", "expected"),
    [
        ((), 100, (4, "multi_processing")),
        ((), 3, (3, "multi_processing")),
        ((), 0, (1, "multi_processing")),
        (("--direct_num_workers=2",), 100, (2, "in_memory")),
        (("--direct_running_mode=in_memory",), 100, (1, "in_memory")),
    ],
)
def test_work_is_spread_over_cores_unless_the_user_says_otherwise(
    monkeypatch, arguments, units, expected
):
    monkeypatch.setattr(beam_options, "num_cores", lambda: 4)
    argv = ["program", *arguments]
    options = beam_options.parse(argv)
    beam_options.spread(options, argv, units=units)
    assert direct(options) == expected


def test_other_runners_keep_their_options():
    options = PipelineOptions(["--runner=FlinkRunner"])
    before = options.get_all_options()
    beam_options.spread(options, [], units=9)
    assert options.get_all_options() == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--direct_num_workers=2", "--direct_running_mode=multi_processing"), True),
        (("--direct_num_workers=1", "--direct_running_mode=multi_processing"), False),
        ((*FLINK, "--direct_running_mode=multi_processing"), False),
    ],
)
def test_worker_processes(arguments, expected):
    assert beam_options.has_worker_processes(parse(*arguments)) == expected


@pytest.mark.parametrize(
    "name", ["NoSuch", "json.JSONDecode", "Spark", "SparkRunner", "InteractiveRunner"]
)
def test_another_runner_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} .*PrismRunner"):
        parse(f"--runner={name}")


@pytest.mark.parametrize("name", ["PortableRunner", "flink"])
def test_a_cluster_has_a_job_server(name):
    with pytest.raises(ValueError, match="--job_endpoint"):
        parse(f"--runner={name}")


NAMES = {
    **dict.fromkeys(("direct", "directrunner", "FNAPIRUNNER"), "FnApiRunner"),
    "prism": "PrismRunner",
    "dataflowrunner": "DataflowRunner",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_runner_may_be_named_in_short(name):
    runner = parse(f"--runner={name}").view_as(StandardOptions).runner
    assert runner == NAMES[name]
