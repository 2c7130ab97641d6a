"""The search: space, samplers, schedulers and session, without Ray."""
