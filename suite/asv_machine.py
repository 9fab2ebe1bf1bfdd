"""asv's plugin (`plugins` in asv.conf.json): machines are called by what they are, and asv says
what it builds and how long that takes. asv imports this module and calls `setup`."""

from __future__ import annotations


def setup() -> None:
    """See the module.

    Raises:
        asv.util.UserError: SigmaBench is not installed beside asv, or there is no such profile.
    """
    from asv.util import UserError

    try:
        from sigmabench.harness.history.asv_plugin import install
    except ModuleNotFoundError as reason:
        raise UserError(
            f"asv needs this project in its own environment, and {reason.name} is not there; "
            "run `pip install -e '.[asv]'` with the Python that runs asv."
        ) from reason
    install()
