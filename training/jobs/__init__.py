"""Jobs of schedules that train."""
