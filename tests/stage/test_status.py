from stage.status import (
    BAD_RECORD,
    CHANGED,
    CORRUPT_RECORD,
    EMPTY,
    MISSING,
    NOT_FINITE,
    OK,
    TOO_LARGE,
    UNDECODABLE,
    UNREADABLE,
)


def test_every_status_has_its_own_word():
    words = [
        OK,
        MISSING,
        UNREADABLE,
        CHANGED,
        CORRUPT_RECORD,
        BAD_RECORD,
        EMPTY,
        UNDECODABLE,
        TOO_LARGE,
        NOT_FINITE,
    ]
    assert len(set(words)) == len(words)
    assert all(word.replace("_", "").isalpha() and word.islower() for word in words)
