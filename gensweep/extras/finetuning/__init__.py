"""Fine-tune trained models on other images, with low-rank updates or all weights."""
