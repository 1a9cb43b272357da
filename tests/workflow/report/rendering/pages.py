"""The elements of a page, and parts of the page."""

import html.parser

from workflow.report.rendering.page import environment


class Reader(html.parser.HTMLParser):
    """Collects the tags, the attributes and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data

    @property
    def shown(self):
        """The text as a page shows it, without line breaks of the source."""
        return " ".join(self.text.split())

    def values(self, name):
        """The values of all attributes of that name."""
        return [value for key, value in self.attributes if key == name]


def macro(template, name):
    """A macro of a template, as a function that returns markup."""
    return getattr(environment().get_template(template).module, name)
