"""The competition folder, as tables of samples (kit init, kit inspect).

Reads: a competition folder or archive, and the section ``competition`` of a config.
Writes: ``configs/<name>.yaml`` (kit init), ``runs/<competition>/images.parquet`` (the scan).

    archives.py         unpack a zip or tar safely
    files.py            list image folders, find images by id
    tables.py           read CSV and TSV as text
    decode.py           decode image files; the registry of image readers
    survey.py           list a folder: images, tables, XML, lists of ids
    layouts/            one file per layout: config section, reader, detector
    infer_config.py     infer a config from a folder, with evidence
    starter_config.py   write the first YAML
    samples.py          load a competition: Competition, load_competition
    scan.py             read every image once: readable, size, digest, perceptual hash
    perceptual_hash.py  near duplicates
    duplicates.py       groups of duplicates, by train and test
    audit.py            the summary of kit inspect
    digits.py           the bundled competition
"""
