"""What is wrong with a submission file, whichever tool wrote it: every problem at once.

Reads: a submission, its format, and optionally predictions, class counts and an earlier submission.
Writes: nothing; returns problems with stable codes.

    problem_codes.py  the table of codes: severity, meaning, remedy
    context.py        what else is known when a file is checked
    file.py           bytes -> cells: encoding, delimiter, quotes
    header.py         the header, and which column is which
    ids.py            the ids, and the rule by which wrong ids differ
    numbers.py        cells that must be numbers
    labels.py         cells that must be classes
    compare.py        the file beside predictions, class counts and the previous submission
    check.py          run all checks
"""
