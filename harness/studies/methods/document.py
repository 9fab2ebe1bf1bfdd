from __future__ import annotations

from ...core.document import Document, Words


def document(found):
    lines = [
        Words(
            f"{r.subject.method} {r.subject.format} {r.subject.corruption} {r.subject.severity} "
            + " ".join(
                f"{T}: {r.score('nll', T, False):.4f}/{r.score('nll', T, True):.4f}"
                for T in r.subject.mc
            )
            + f" {[(round(t.tau, 3), t.form) for t in r.body.temperatures[0]]}"
        )
        for r in found
        if r.labelled
    ]
    return Document("x", tuple(lines), {})
