"""Where a configuration meets the maths: from a TrialConfig to data, family, evaluator; then a training, or images."""
