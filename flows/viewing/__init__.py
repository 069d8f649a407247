"""Episodes and scenes as an interactive page in the browser, by viser."""

from flows.viewing.serve import Page, open_page

__all__ = ["Page", "open_page"]
