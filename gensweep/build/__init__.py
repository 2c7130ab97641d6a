"""Build a trial from its configuration: data, family and evaluator, then a training or images."""
