"""The model card of a forest: its data and its accuracy beside the plain estimate, each number from the manifest."""

from quantd.models.forests.artifact import Judged, Manifest
from quantd.models.forests.forest_features import MEANING, PLAIN


def card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    training, forest = manifest.training, manifest.forest
    lines = [
        f"# {manifest.name}",
        "",
        f"A random forest that predicts, for the next {manifest.horizon} samples: {MEANING[manifest.predicts]}.",
        f"The plain estimate it is held to: {PLAIN[manifest.predicts]}. The trees hold what is added to it.",
        "",
        f"- Made by: `{training.command}`",
        f"- Symbols: {', '.join(manifest.universe)}; it answers for any universe, one row an asset or a pair.",
        *(f"- Data: `{name}`, BLAKE2b {digest[:16]}…" for name, digest in sorted(training.data.items())),
        f"- Window: {training.window.first} to {training.window.last}, every {training.stride}th session, "
        f"{training.rows} rows.",
        f"- {forest.trees} trees, depth at most {forest.depth}, at most {forest.leaves} leaves a tree, at least "
        f"{forest.least_in_leaf} rows a leaf, {forest.feature_share:.0%} of the features at a split, seed "
        f"{forest.seed}.",
        f"- Features, scaled: {', '.join(manifest.features.names)}; {manifest.features.lookback} samples.",
        f"- Out of sample: expanding walk forward; an outcome fitted on ended more than {training.embargo} sessions "
        "before "
        "the first decision judged.",
        "",
        "| judged | fitted until | rows | R² | plain R² | MSE | plain MSE |",
        "|---|---|---|---|---|---|---|",
        *(_row(each) for each in manifest.folds),
        _row(manifest.together, "**all** "),
        "",
        f"**Verdict.** {verdict(manifest)}",
        "R² pools all assets and dates: differences between assets are part of what it explains, for both alike. "
        "Outcomes overlap, so the rows are far fewer than they look.",
        "",
    ]
    return "\n".join(lines)


def verdict(manifest: Manifest) -> str:
    """Return one sentence on the accuracy against the plain estimate and the threshold."""
    model, plain = manifest.together.model, manifest.together.plain
    better = "better than" if beats_plain(manifest) else "not better than"
    steps = sum(each.model.mse < each.plain.mse for each in manifest.folds)
    reached = "reaches" if model.r2 >= manifest.threshold else "misses"
    start = "on" if beats_plain(manifest) else "switched off"
    return (
        f"Out of sample it is {better} the plain estimate (MSE {model.mse:.4f} against {plain.mse:.4f}; better in "
        f"{steps} of "
        f"{len(manifest.folds)} steps), so it starts {start}. Its R² of {model.r2:.2f} {reached} the "
        f"{manifest.threshold:g} asked for."
    )


def beats_plain(manifest: Manifest) -> bool:
    """Whether the forest's squared error out of sample was smaller."""
    return manifest.together.model.mse < manifest.together.plain.mse


def _row(each: Judged, label: str = "") -> str:
    model, plain = each.model, each.plain
    return (
        f"| {label}{each.first} to {each.last} | {each.fitted_until} | {each.rows} | {model.r2:.3f} | {plain.r2:.3f} "
        f"| {model.mse:.4f} | {plain.mse:.4f} |"
    )
