"""The pages of results: a template beside each, whose every number is computed from records.

    python results/pages [NAME ...]

writes `results/NAME/README.md` of every `results/NAME/README.md.jinja`, `results/README.md` of its
template (`.`), and the table between the marks in README.md (`first`); with names, those alone.
Nothing is measured. A sentence that has stopped being true of the records is refused
(`render.claim`). What some studies say is read from the tables of results/report, which
`results.drawn` makes of the same records.
"""
