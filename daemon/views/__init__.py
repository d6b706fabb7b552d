"""Views of state and store for API, command line and reports."""
