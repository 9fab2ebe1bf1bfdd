from __future__ import annotations


def analyse(records, plan=None):
    return [records]
