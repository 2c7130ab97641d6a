"""Compare trained models, and recommend one."""
