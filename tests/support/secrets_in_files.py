"""Expressions of secrets in files, and what looks like one and is none."""

import re

SECRETS = {
    "private key": (rb"PRIVATE KEY-----", rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "key of AWS": (rb"A", rb"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"),
    "token of GitHub": (rb"gh", rb"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{40,}"),
    "token of Slack": (rb"xox", rb"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "key of Google": (rb"AIza", rb"\bAIza[0-9A-Za-z_-]{35}\b"),
    "token of a Telegram bot": (rb":AA", rb"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    "key of Alpaca": (rb"K", rb"\b[PAC]K[A-Z0-9]{18}\b"),
    "JSON web token": (rb"eyJ", rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    "login in an address": (rb"@", rb"[a-z]+://[^\s/:@\"'<>{}$`]+:([^\s/@\"'<>{}$`*]+)@[A-Za-z0-9]"),
    "secret in a line": (
        rb"=",
        rb"(?i:secret|password|passwd|token|api_?key)[\"']? ?[:=] ?[\"']?((?=[A-Za-z_-]*[0-9])[A-Za-z0-9+/_-]{20,})",
    ),
    "identifier of a machine": (rb"-", rb"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    "address of a network card": (rb":", rb"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"),
    "folder of a person": (rb"/", rb"/(?:home|Users)/(?!me/|you/)[a-z][\w.-]*/|/root/\w"),
    "address of a person": (
        rb"@",
        rb"[A-Za-z0-9._%+-]{1,64}@(?!example\.)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:com|net|io|de|edu|co|ai|dev)\b",
    ),
}
"""Kind -> bytes that are in each of them, and its expression. A group is the secret itself."""

KNOWN = {
    b"hunter2", b"p", b"pw", b"word", "…".encode(), b"p%40ss%2Fw%3Ard",  # passwords of tests
    b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",  # the example of Binance's documentation
    b"tk_abcdefghij0123456789",
    b"5d0b6f2e-8f0c-5b7e-9a55-6e1c0f6f4d11", b"d7ca3512-1cef-57a4-adb9-920d5ffbc37f",  # a namespace, and a name in it
    b"35d7a4b6-2b8e-4f2c-8b0c-1c5c4d9e9b11",  # an order of a test
}  # fmt: skip
"""What looks like a secret and is none."""


def secrets_of(data: bytes) -> list[tuple[str, bytes]]:
    """The kind and the text of each secret in a file's content."""
    return [
        (kind, match[match.lastindex or 0])
        for kind, (part, expression) in SECRETS.items()
        if part in data
        for match in re.finditer(expression, data)
        if match[match.lastindex or 0] not in KNOWN
    ]
