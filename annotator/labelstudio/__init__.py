"""What Label Studio speaks: labeling configurations, tasks, predictions."""
