"""Folds: assign training samples to cross-validation folds, check the partition, write it (kit folds).

Reads: samples (``id``, labels, optionally groups, paths, given folds), and sets of duplicates.
Writes: ``folds/<competition>.csv``.

    groups.py                 Population: the samples, and the units that must stay together
    make.py                   schemes; make, load, or keep the folds of a competition
    stratified.py             assignment for one class per image
    multilabel_stratified.py  assignment for several classes per image
    group_assignment.py       placement of units, used by stratified.py
    table.py                  Folds: the table, its checks, CSV
    balance_report.py         how evenly classes are distributed
"""
