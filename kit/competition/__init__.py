"""The competition folder, as tables of samples (kit init, kit inspect).

Reads: a competition folder or archive, and the section ``competition`` of a config.
Writes: ``configs/<name>.yaml`` (kit init), ``runs/<competition>/images.parquet`` (the scan).

    unpack/             unpack archives, and files that hold many images
    images/             list image folders, decode image files; the registry of image readers
    tables/             read tables as text, match them with images
    survey.py           list a folder: images, tables, XML, lists of ids
    layouts/            one file per layout: config section, reader, detector
    infer/              infer a config from a folder, with evidence, and write the first YAML
    samples.py          load a competition: Competition, load_competition
    scan.py             read every image once: readable, size, digest, perceptual hash
    opened.py           load and scan once per command
    metadata.py         join columns of the tables to the samples, by id
    column_encoder.py   columns as numbers: scales and categories, fitted on training rows
    perceptual_hash.py  near duplicates
    duplicates.py       groups of duplicates, by train and test
    audit.py            the summary of kit inspect
    id_rules.py         rules by which ids of tables meet names of images
    words.py            words in names: train, test, sample
    digits.py           the bundled competition
"""
