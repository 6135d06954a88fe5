"""Record whether a kit command owns this process, and may change its process-wide settings and signals."""

from __future__ import annotations

import signal
import sys
import threading

AGAIN_SECONDS = 0.05  # until the callback that has dropped an interrupt is over

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

    While a ``Deadline`` defers signals, as training does, the command first finishes the current step. Python
    drops an interrupt that arrives in a callback, such as those of imports; it is then sent again.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again


def _interrupt_again(dropped: sys.UnraisableHookArgs) -> None:
    """Send an interrupt again that Python has dropped; report every other error as Python does.

    The signal is SIGTERM, since a shell may have started kit with SIGINT ignored; it ends a wait of the main
    thread, which a simulated one does not.
    """
    if dropped.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(dropped)
        return
    main = threading.main_thread().ident or 0
    again = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, [main, signal.SIGTERM])
    again.daemon = True
    again.start()
