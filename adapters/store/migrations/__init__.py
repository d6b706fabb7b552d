"""The revisions of the store's schema, managed by Alembic. `docs/operate/store.md` explains how to add one."""
