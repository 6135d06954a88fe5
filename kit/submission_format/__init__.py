"""The format of a submission file: inferred from a sample, written, and read back.

Reads: sample submission files. Writes: CSV and TSV.

    spelling.py    spellings of classes, yes and no, numbers
    numbers.py     numbers as text, and back
    evidence.py    a sample's cells and a competition's facts, as evidence of the kind
    spec.py        SubmissionFormat, its SubmissionKind (interface), CsvDialect, LongRows
    parse.py       CSV bytes -> columns of text
    sample.py      a sample file -> cells and dialect
    kinds/         the kinds: one class per file
    infer_kind.py  a sample -> its kind
    writer.py      predictions -> bytes
    reader.py      text -> predictions, independent of the writer
"""
