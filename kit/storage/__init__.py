"""Files and folders: paths, atomic writes, locks, caches.

Reads and writes: everything below the workspace; other packages get their paths from here.

    workspace.py            the paths of configs, folds, runs, submissions, data and weights
    fold_folder.py          the paths of one fold's files
    roots.py                folders that environment variables name, and files in several roots
    files.py                atomic writes, JSON, checksums
    locks.py                locks between processes
    partial_predictions.py  predictions of one model, kept until all are combined
    clean.py                remove caches of images (kit clean)
"""
