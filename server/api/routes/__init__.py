"""The routes of the API, by what they read or change. Each module lists its records."""
