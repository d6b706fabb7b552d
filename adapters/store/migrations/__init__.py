"""The revisions of the store's schema, managed by Alembic. `docs/develop/extending.md` explains how to add one."""
