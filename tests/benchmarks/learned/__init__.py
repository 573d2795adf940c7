"""What is learned across sensors, and how it is tried."""
