"""What a run leaves behind: files, checkpoints, results."""
