from tests import commands
from tests.pseudo_label.dataset.spoiling import change_records, first_file, replace


def test_the_command(written, run):
    change_records(first_file(run), replace("round", "int64_list", 2))
    whole, spoiled, nothing, incomplete = (
        commands.call("pseudo_label.verify", *arguments)
        for arguments in ([written.dataset], [run.dataset], [], [written.root])
    )
    assert whole.returncode == 0
    lines = whole.stdout.splitlines()
    assert lines[0].split() == ["expected", "found"]
    assert ["over", "quota"] in [line.split()[:2] for line in lines]
    assert lines[-1] == "ok"
    for refused, word in ((spoiled, "round"), (nothing, ""), (incomplete, "COMPLETED")):
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: ")
        assert len(refused.stderr.splitlines()) == 1
        assert word in refused.stderr
        assert not refused.stdout
