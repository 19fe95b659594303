"""What Prometheus is told: what this process does, and what the database says is waiting."""
