"""The training path: settings, schedule, the skorch net and its loop, and inference."""
