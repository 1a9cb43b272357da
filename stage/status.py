"""Status of an image in every table: `ok`, or a word for the failure."""

OK = "ok"
