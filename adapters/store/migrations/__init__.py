"""The revisions of the store's schema, by Alembic. `docs/store.md` says how to add one."""
