"""Trained models that go on with other images, by low-rank updates or with all of their weights."""
