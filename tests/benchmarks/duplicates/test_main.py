from benchmarks.duplicates import __main__ as duplicates
from benchmarks.duplicates.alterations import ALTERATIONS
from classifier.inference.ensemble import Ensemble
from tests.images import random_images


def test_equal_files_are_found_and_others_are_not(exported):
    ensemble = Ensemble([exported[0]], embeddings=True)
    pictures = random_images(4)
    copies = {"same": pictures, "others": pictures[1:] + pictures[:1]}
    found = duplicates.compare_hashes(ensemble, pictures, copies)
    assert found["same"] == [1] * len(duplicates.BITS)
    assert found["others"] == found["different pictures"] == [0] * len(duplicates.BITS)
    found = duplicates.compare_embeddings(ensemble, pictures, copies)
    assert found["same"] == [1] * len(duplicates.COSINES)
    assert len(found) == 3
    assert len(ALTERATIONS) == 9
