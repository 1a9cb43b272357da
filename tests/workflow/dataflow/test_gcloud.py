import pytest

from workflow.dataflow import gcloud

STAND_IN = """#!/bin/sh
case "$1" in
answer) echo '{"name": "x"}' ;;
empty) ;;
text) echo 'no JSON' ;;
bytes) printf '"\\377"' ;;
deep) printf '%100000s' | tr ' ' '[' ;;
fail)
    echo 'WARNING: something else' >&2
    echo 'ERROR: (gcloud.storage.buckets.describe) gs://b not found:' >&2
    echo ' - 404.' >&2
    exit 1 ;;
silent) exit 3 ;;
ask) read answer || { echo 'ERROR: nobody answers' >&2; exit 1; } ;;
hang) sleep 1000 & wait ;;
prompts) echo "\\"$CLOUDSDK_CORE_DISABLE_PROMPTS\\"" ;;
esac
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path, monkeypatch):
    (tmp_path / "gcloud").write_text(STAND_IN)
    (tmp_path / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def ask(word, *, time_limit=60):
    return gcloud.ask({"it": (word,)}, time_limit=time_limit)["it"]


def test_answers_are_parsed():
    assert ask("answer").value == {"name": "x"}
    assert ask("empty").value is None
    assert ask("bytes").value == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("word", ["text", "deep"])
def test_what_is_no_json_is_not_understood(word):
    reason = "gcloud's answer is not understood: expected JSON"
    assert ask(word).reason == reason


def test_a_failure_is_one_line_in_gclouds_words():
    answer = ask("fail")
    assert answer.reason == "gs://b not found: - 404"
    assert answer.value is None
    assert ask("silent").reason == "status 3"


def test_gcloud_can_ask_nothing():
    assert ask("ask").reason == "nobody answers"
    assert ask("prompts").value == "1"


def test_a_gcloud_that_hangs_is_ended_with_all_that_it_started():
    """Its child keeps the pipes open, and would be waited for."""
    assert ask("hang", time_limit=0.2).is_late


def test_each_command_has_its_own_answer():
    words = {"fail": ("fail",), "answer": ("answer",), "silent": ("silent",)}
    answers = gcloud.ask(words, time_limit=60)
    assert list(answers) == list(words)
    assert [bool(answer.reason) for answer in answers.values()] == [True, False, True]


def test_without_gcloud_there_is_none(monkeypatch, tmp_path):
    assert gcloud.is_installed()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert not gcloud.is_installed()
