"""Folders of pictures: labeled, unlabeled and to test on."""
