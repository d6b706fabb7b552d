"""Market data: vendors, recorded files, live feeds, and the checks that every bar passes."""
