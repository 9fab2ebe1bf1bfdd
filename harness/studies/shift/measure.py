"""The shift study is measured as all are whose cells are scored."""

from ..scored import measurer

__all__ = ["measurer"]
