"""Do the parts of a job at the same time: on devices of this machine, or as tasks of a Ray cluster.

Reads and writes nothing itself; a job's parts write what they make. Training uses it for folds, ``sweep`` and
``auto`` for experiments.

    work.py        what a job is, and the reports of its parts
    devices.py     the devices of this machine (--devices) or the cluster (--ray)
    processes.py   one process per device takes the next part
    cluster.py     one Ray task per part; that of a lost node is done again elsewhere
    parallel.py    chooses between the two
"""
