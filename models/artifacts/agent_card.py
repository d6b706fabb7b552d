"""Cards of artifacts that were made from others: what they were made from, and how far they answer alike."""

from quantd.models.artifacts.agent_manifest import SAME, Agreement, Manifest


def card_of_copy(manifest: Manifest, parent_card: str) -> str:
    """Markdown: the figures of the copy, then the parent's card, whose results are the parent's."""
    found = manifest.agreement
    assert found is not None
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            f"A copy in {manifest.precision} of the artifact {manifest.parent[:16]}…, made by `{manifest.made}`.",
            "",
            *figures(found, manifest),
            "",
            "The results below are the parent's: this copy was not judged on its own.",
            "",
            "---",
            "",
            parent_card,
        ]
    )


def card_of_pupil(manifest: Manifest, teacher: str) -> str:
    """Markdown, of a smaller network that was taught by another artifact."""
    found = manifest.agreement
    assert found is not None
    shape = manifest.network
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            f"A network of {' and '.join(map(str, shape.hidden))} units ({shape.parameters} numbers) that was taught to answer as "
            f"{teacher} (artifact {manifest.parent[:16]}…) does, by `{manifest.made}`.",
            "",
            *figures(found, manifest),
            "",
            "It was taught on observations of the teacher's training window, and compared on others of it. How it earns was not judged: "
            "`quantd backtest` and `quantd evaluate` say that.",
            "",
        ]
    )


def figures(found: Agreement, manifest: Manifest) -> list[str]:
    """Of the agreement with the parent."""
    action = "the same allocation" if manifest.action.kind == "discrete" else f"no weight further apart than {SAME:g}"
    return [
        f"- Graph: {found.size_ratio:.2f} of the parent's bytes.",
        f"- From an observation to weights, batch 1: p50 {found.p50_us:.1f} µs, p99 {found.p99_us:.1f} µs; the parent, in the same run, "
        f"{found.parent_p50_us:.1f} µs and {found.parent_p99_us:.1f} µs.",
        f"- Over {found.probes} observations: {found.equal_actions:.1%} with {action}; largest difference of a weight "
        f"{found.largest_difference:.2g}, of all weights together {found.mean_difference:.2g} in the mean.",
        *([f"- Left in float32, as rounding them did most harm: {', '.join(found.left)}."] if found.left else []),
    ]
