from benchmarks.selection import beam_top
from benchmarks.selection.task import SelectionTask


def test_top_finds_what_sorting_finds(directory, find_by_sorting):
    task = SelectionTask("top", str(directory), 100)
    assert sorted(beam_top.run(task)) == find_by_sorting(100)


def test_among_equal_confidences_the_lower_hash_is_first():
    inverted = [2**64 - 1 - key_hash for key_hash in (5, 7)]
    best = sorted([(0.5, inverted[1]), (0.5, inverted[0])], reverse=True)
    assert beam_top.find_cut_off(3, best) == (3, 2, 0.5, 7)
