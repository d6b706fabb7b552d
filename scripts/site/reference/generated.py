"""The generated pages by their places in the site."""

from collections.abc import Callable
from typing import Final

from scripts import requirements_page
from scripts.site.pages import Page
from scripts.site.reference import command_line, configuration_keys, glossary, modules, python_names, records, routes

PAGES: Final[dict[str, Callable[[], str]]] = {
    "keys": configuration_keys.page,
    "commands": command_line.page,
    "topics": records.topics_page,
    "metrics": records.metrics_page,
    "limits": records.limits_page,
    "events": records.events_page,
    "exit-codes": records.exit_code_page,
    "python-names": python_names.page,
    "glossary": glossary.page,
    "modules": modules.page,
    "requirements": requirements_page.page,
}
"""Name of a page -> its maker. The page of routes needs a daemon, and comes in addition."""


def generated(*, api: bool = True) -> list[Page]:
    """The pages of the reference; without `api` the page of routes has no routes."""
    texts = {name: make() for name, make in PAGES.items()}
    texts["api"] = routes.page(routes.document() if api else {"paths": {}})
    return [Page(f"docs/reference/{name}.md", f"reference/{name}.md", text) for name, text in sorted(texts.items())]
