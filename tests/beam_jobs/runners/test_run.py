import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from beam_jobs.runners.run import parse_beam_arguments


def parse(*arguments):
    return parse_beam_arguments(["program", *arguments], name="test")


@pytest.mark.parametrize("arguments", [(), ("--runner=DirectRunner",)])
def test_a_local_run_names_the_runner_that_reads_the_direct_options(arguments):
    options = parse(*arguments, "--direct_num_workers=2")
    assert options.view_as(StandardOptions).runner == "FnApiRunner"
    assert options.view_as(DirectOptions).direct_num_workers == 2


def test_another_runner_stays_and_may_have_options_of_its_own():
    options = parse("--runner=FlinkRunner", "--checkpointing_interval=1000")
    assert options.view_as(StandardOptions).runner == "FlinkRunner"


@pytest.mark.parametrize("argument", ["--direct_num_worker=2", "--bogus"])
def test_an_unknown_option_is_refused(argument):
    with pytest.raises(ValueError, match=argument.partition("=")[0]):
        parse(argument)


@pytest.mark.parametrize("argument", ["runs/demo", "-x"])
def test_what_is_no_option_is_refused(argument):
    with pytest.raises(ValueError, match=f"--name=value.*{argument}"):
        parse(argument)


def test_switches_may_be_turned_off():
    parse("--no_save_main_session")
