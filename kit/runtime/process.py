"""Record whether a kit command owns this process, and may change its process-wide settings."""

_belongs_to_command = False


def claim_process() -> None:
    """Declare that this process runs a kit command and nothing else."""
    global _belongs_to_command
    _belongs_to_command = True


def belongs_to_command() -> bool:
    """Return whether a kit command owns the process; False if kit is used as a library."""
    return _belongs_to_command
