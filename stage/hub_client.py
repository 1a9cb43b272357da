"""The library huggingface_hub, which the extra [hub] installs."""

from __future__ import annotations

from typing import Any

from stage.extras import install_extra

#: Regular expressions of a name, as of an owner, and of a repository.
NAME = r"\w+(?:[.-]\w+)*"
REPOSITORY = f"{NAME}/{NAME}"


def import_hub(what: str) -> Any:
    """Returns huggingface_hub, which then prints no line for each of its attempts.

    The error of the last attempt is raised. `HF_HUB_OFFLINE` and the login are the
    library's own.

    Args:
        what: What needs it, as the subject of "needs huggingface_hub".

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.utils
    except ImportError as error:
        raise ValueError(
            f"{what} needs huggingface_hub: {install_extra('hub')}"
        ) from error
    huggingface_hub.utils.logging.set_verbosity_error()
    return huggingface_hub
