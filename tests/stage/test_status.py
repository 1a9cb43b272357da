from classifier.data import examples
from classifier.inference import ensemble
from stage.status import OK


def test_every_status_has_its_own_word():
    words = [
        OK,
        examples.MISSING,
        examples.UNREADABLE,
        examples.CORRUPT_RECORD,
        examples.BAD_RECORD,
        ensemble.EMPTY,
        ensemble.UNDECODABLE,
        ensemble.TOO_LARGE,
        ensemble.NOT_FINITE,
    ]
    assert len(set(words)) == len(words)
    assert all(word.replace("_", "").isalpha() and word.islower() for word in words)
