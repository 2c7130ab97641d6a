"""The search: Ray Tune with Optuna over trials that Ray Train runs."""
