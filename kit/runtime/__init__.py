"""The running process: deadline, signals, progress, seeds, environment.

Reads: the clock, signals, the machine.
Writes: nothing.

    deadline.py     the time limit, and Ctrl-C as a reason to stop
    progress.py     the interface through which long work reports
    seeds.py        seeds derived from their purpose
    environment.py  versions, commit, processor, time
    process.py      whether a kit command owns the process
"""
