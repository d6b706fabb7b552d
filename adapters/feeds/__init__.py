"""Market data: vendors, recorded files, live slices, and the checks that every bar passes."""
