from benchmarks.selection import arrow_scan
from benchmarks.selection.task import SelectionTask


def test_the_scan_reads_every_file_and_finds_nothing(directory, monkeypatch):
    files = []
    read = arrow_scan._read
    monkeypatch.setattr(arrow_scan, "_read", lambda path: files.append(read(path)))
    assert arrow_scan.run(SelectionTask("scan", str(directory), 100)) == []
    assert len(files) == 3
