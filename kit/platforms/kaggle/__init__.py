"""Download a competition from Kaggle, and submit to it, through the official package ``kaggle``.

Reads: the credentials of the package; nothing of them is stored or printed.
Writes: the archive of a competition; the number and scores of a submission, beside its file.

    failures.py  every way in which Kaggle refuses, as one message with the next step
    client.py    the few calls of the package that kit needs
    waiting.py   wait until a submission is scored
    push.py      upload a bundle as a private dataset
"""
