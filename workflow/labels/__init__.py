"""Selected images as others read them: a table, or a folder for each class."""
