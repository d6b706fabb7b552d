"""Background work beside trading: reports, backups, compaction, retraining."""
