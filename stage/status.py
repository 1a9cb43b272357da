"""Status of an image in every table: `ok`, or a word that says what is wrong."""

OK = "ok"
