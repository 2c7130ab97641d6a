"""Optional features: each package plugs into the core through its entry points."""
