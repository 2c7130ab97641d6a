"""Environment variables for Ray Train, needed in the driver and in every trial actor."""

TRAIN_SWITCHES = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a configuration mean the same in every process
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # the controller's poll; the default of 2 s is a second a start
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one actor less a group
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # a cluster may have to start a machine first
    "RAY_TRAIN_COLLECTIVE_WARN_INTERVAL_S": "86400",  # idle ranks wait in a broadcast for the next trial
}
