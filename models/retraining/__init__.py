"""Training again on newer data, and whether what comes out is worth trying as a challenger."""
