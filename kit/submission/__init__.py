"""A run's predictions -> a checked submission in ``submissions/``.

Reads: a run's OOF, held-out and test predictions, its postprocessing, the sample submission.
Writes: ``submissions/<competition>/<name>.csv`` (or ``.tsv``) and ``<name>.json``, its provenance.

    format.py         the submission's format, from the sample file or the config
    pooling.py        predictions of crops -> predictions of the rows of the submission
    leaks.py          test images that are also training images
    inputs.py         a run's predictions, its competition and the submission format
    round_trip.py     write OOF predictions, read them back, score them again
    verify.py         the scores of a submission, each verified by a round trip
    check_context.py  collect what the submission check compares a file with
    trace.py          read and write the JSON beside a submission
    trace_values.py   what it records
    submit.py         run all steps; reproduce a submission from its provenance
    heldout.py        score a written submission against a solution file
"""
