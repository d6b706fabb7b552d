"""Sets addresses and keys of the clients of a trading program that `quantd gateway exec` starts.

Python imports this module before the program, because its folder is the first of PYTHONPATH. alpaca-py reads no
variable, and many programs pass an address and keys of their own to alpaca-trade-api. So each client of these packages
gets the address of the gateway and the key pair of the agent, whatever the program passes: keys in the program's text
reach nobody, and no order goes around the limits.

The program has a Python of its own, perhaps an older one without quantd: nothing is imported here but the standard
library.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from typing import Any, Callable  # noqa: UP035 - for older versions of Python, too

URL = os.environ.get("APCA_API_BASE_URL", "")
KEYS: dict[str, Any] = {
    "api_key": os.environ.get("APCA_API_KEY_ID", ""), "key_id": os.environ.get("APCA_API_KEY_ID", ""),
    "secret_key": os.environ.get("APCA_API_SECRET_KEY", ""), "oauth_token": None, "oauth": None,
    "use_basic_auth": False,
}  # fmt: skip
SOCKET = "ws" + URL[4:]

CLIENTS = {
    "alpaca.common.rest": {"RESTClient": {"base_url": URL}},
    "alpaca.trading.stream": {"TradingStream": {"url_override": SOCKET + "/stream"}},
    "alpaca.data.live.websocket": {"DataStream": {"endpoint": SOCKET + "/v2/iex"}},
    "alpaca_trade_api.rest": {"REST": {"base_url": URL}},
    "alpaca_trade_api.rest_async": {"AsyncRest": {"base_url": URL, "data_url": URL}},
    "alpaca_trade_api.stream": {"Stream": {"base_url": URL, "data_stream_url": URL}},
}
"""Module -> class -> the arguments with which its objects are made, beside the keys."""


def with_arguments(method: Callable[..., None], values: dict[str, Any]) -> Callable[..., None]:
    """A constructor for which the arguments in `values` are always these, as far as it has them."""
    names = inspect.signature(method).parameters

    @functools.wraps(method)
    def initialise(self: Any, *given: Any, **named: Any) -> None:
        bound = inspect.signature(method).bind_partial(self, *given, **named)
        bound.arguments.update({name: value for name, value in values.items() if name in names})
        rest = {name: value for name, value in bound.arguments.items() if name != "self"}
        extra = rest.pop("kwargs", {})
        method(self, **{**rest, **extra})

    return initialise


class Finder:
    """Finds the modules in CLIENTS as all others do, and changes their classes after they are loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name not in CLIENTS:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not Finder)
        spec = next(filter(None, specs), None)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def loaded(module: Any) -> None:
            load(module)
            for owner, values in CLIENTS[name].items():
                client: Any = getattr(module, owner)
                setattr(client, "__init__", with_arguments(client.__init__, {**KEYS, **values}))  # noqa: B010

        spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


def another() -> None:
    """Import the sitecustomize of the program's own Python, which this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    path, this = list(sys.path), sys.modules.pop("sitecustomize", None)
    sys.path[:] = [folder for folder in path if os.path.abspath(folder) != here]
    try:
        importlib.import_module("sitecustomize")
    except ImportError:
        if this is not None:
            sys.modules["sitecustomize"] = this
    finally:
        sys.path[:] = [folder for folder in path if os.path.abspath(folder) != here]


if URL:
    sys.meta_path.insert(0, Finder)
    another()
