"""Published records judged again from their own fields, by the audits and rules of this code.

    python -m results.again

from the top of a checkout writes results/JUDGED-AGAIN.md, results/JUDGED-AGAIN.csv and
results/superseded.csv. Nothing is measured, and no record is changed. Render the tables first
(results/render.sh): what studies of several records say is compared as it was published and as it
is rendered now.
"""
