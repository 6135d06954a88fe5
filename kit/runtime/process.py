"""Record whether a kit command owns this process, and may change its process-wide settings and signals."""

import signal

_belongs_to_command = False


def claim_process() -> None:
    """Declare that this process runs a kit command and nothing else."""
    global _belongs_to_command
    _belongs_to_command = True


def belongs_to_command() -> bool:
    """Return whether a kit command owns the process; False if kit is used as a library."""
    return _belongs_to_command


def interrupt_on_sigterm() -> None:
    """Make SIGTERM interrupt the command as Ctrl-C does: finished work stays, a message says how to resume.

    While a ``Deadline`` defers signals, as training does, the command first finishes the current step.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
