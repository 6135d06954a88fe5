"""Several predictions become one."""
