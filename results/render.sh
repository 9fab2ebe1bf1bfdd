#!/usr/bin/env bash
# Everything that is made of records, from the records alone: tables and figures of results/report,
# what became of verdicts (results/JUDGED-AGAIN.md) and the pages (results/*/README.md). Nothing is
# measured.
set -euo pipefail
python -m results.drawn
python -m results.again
python results/pages
