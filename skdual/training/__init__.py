"""The training path: one fit, the skorch net and its loop, what they take and leave, and inference."""
