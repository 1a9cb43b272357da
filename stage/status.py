"""Status of an image, in every table: `ok`, or the reason there is no prediction."""

OK = "ok"
#: The file existed when the source was listed, and does not any more.
MISSING = "missing"
#: The file exists and cannot be read: forbidden, not a file, or a broken disk.
UNREADABLE = "unreadable"
#: The file's size or time is not the one of the listing, or changed while it was read.
CHANGED = "changed"
#: The record's bytes differ from those that were written.
CORRUPT_RECORD = "corrupt_record"
#: The record is intact, but does not hold exactly one image.
BAD_RECORD = "bad_record"
#: The image has no bytes.
EMPTY = "empty"
#: The bytes are no image of a supported format, or a broken one.
UNDECODABLE = "undecodable"
#: The header claims more pixels than are decoded.
TOO_LARGE = "too_large"
#: The network's output is not finite.
NOT_FINITE = "not_finite"
