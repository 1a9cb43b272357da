"""Configurations as flat dictionaries, to compare recipes setting by setting."""


def flatten(config, prefix=""):
    """Returns the values of nested dictionaries by their dotted path."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, dict):
            fields |= flatten(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields
