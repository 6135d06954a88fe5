"""Check a submission file made by any tool, and report all problems at once.

Reads: a submission, its format, and optionally predictions, class counts and an earlier submission.
Writes: nothing; returns problems with stable codes.

    problem_codes.py  the table of codes: severity, meaning, remedy
    context.py        what to compare the file with
    file.py           bytes -> cells: encoding, delimiter, quotes
    header.py         check the header, and match columns by name
    ids.py            check ids, and find the rule by which wrong ids differ
    numbers.py        check cells that must be numbers
    labels.py         check cells that must be classes
    compare.py        compare with predictions, class counts and the previous submission
    check.py          run all checks
"""
