"""What the daemon knows of running containers: specifications, tasks, shims, logs and statistics."""
