"""The revisions of the store's schema, by Alembic. `docs/operate/store.md` says how to add one."""
