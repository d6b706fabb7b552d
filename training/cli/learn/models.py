"""Inspect, verify, export and combine trained artifacts; train forests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import Command, Folder, Json
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, iso, print_json, say
from quantd.trading.exit_codes import CONFIG, DONE
from quantd.training.cli.learn import artifacts, forests
from quantd.training.cli.learn.artifact_files import place_of

if TYPE_CHECKING:
    from quantd.models.artifacts.manifest import AgentManifest


def info(folder: Folder, as_json: Json = False) -> int:
    """Check an artifact and print its card and manifest."""
    from quantd.daemon.policies.model_facts import stated
    from quantd.models.artifacts.loader import checked
    from quantd.models.artifacts.manifest import MANIFEST, AgentManifest

    place = place_of(folder)
    artifact = checked(place)
    manifest = artifact.manifest
    document = stated(artifact)
    if as_json:
        print_json(document)
        return DONE
    say((place / "card.md").read_text())
    if isinstance(manifest, AgentManifest):
        say("\n".join(facts(manifest)))
    if "training" in document:
        say(f"processor of the training: {document['training']['processor'] or 'not recorded'}")
    for name, entry in sorted(document["files"].items()):
        say(f"{name}: {entry['size']} bytes, BLAKE2b {entry['blake2b'][:16]}…")
    say(f"{MANIFEST}: digest {document['digest']}")
    return DONE


def verify(
    folder: Folder,
    keys: Annotated[
        list[Path] | None, typer.Option("--key", metavar="FILE", help="The public key of the signature.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make every check of a start, with the probe on this machine; exit code 78 when one fails."""
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import kind_in, load_artifact

    place = place_of(folder)
    policy = load_artifact(place, {})  # {}: no parameters
    kind = kind_in(place).name
    until = policy.trained_until_ns
    if keys:
        for artifact_folder, digest in signature.artifacts_in(policy):
            if fault := signature.signature_fault(artifact_folder, digest, keys):
                raise Failure(fault, CONFIG)
    document = {
        "folder": str(place), "kind": kind, "whole": True, "digest": policy.digest, "trained_until": iso(until),
        "signed": bool(keys),
    }  # fmt: skip
    named = {"learned": "a learned policy", "ensemble": "an ensemble"}.get(kind, f"a {kind}")
    state = f"trained until {iso(until)[:10]}{'; signed' if keys else ''}"
    answer(as_json, document, f"{place}: {named}, whole; its probe answers as it should here; {state}")
    return DONE


def columns_text(manifest: "AgentManifest") -> list[str]:
    """Describe the market columns of a policy's sight, its input, in one line; the list is empty without columns."""
    sight = manifest.sight
    if not sight.columns:
        return []
    files = ", ".join(f"{source.name} ({source.path})" for source in (*manifest.macro, *manifest.series))
    macro = f"; series {files}" if files else ""
    benchmark = f"; benchmark {sight.benchmark}" if sight.benchmark else ""
    return [f"columns: {', '.join(sight.columns)}{benchmark}{macro}; hash {manifest.features_hash}"]


def facts(manifest: "AgentManifest") -> list[str]:
    """Describe a learned policy by its manifest, one line for each property.

    The sight of a policy is the input that it reads. The seats of a policy are the agents that trade one account
    together, if there are several.
    """
    training, shape, sight = manifest.training, manifest.network, manifest.sight
    until = iso(training.until_ns)[:10]
    lines = [
        f"algorithm: {manifest.algorithm}{f', profile {manifest.profile}' if manifest.profile else ''}, "
        f"{manifest.precision}",
        f"network: {shape.kind} {' '.join(map(str, shape.hidden))}, {shape.parameters} numbers",
        f"sight: {', '.join([*sight.features, 'known'])}; window {sight.window}; "
        f"book {', '.join(sight.book) or 'unseen'}; hash {manifest.sight_hash}",
        *columns_text(manifest),
        f"actions: {manifest.action.kind}",
        f"universe: {', '.join(manifest.universe)}",
        *(f"{name}: {window.first} to {window.last}" for name, window in training.windows.items()),
        f"trained until {until}; seeds {', '.join(map(str, training.seeds))}, of them {training.chosen_seed}",
        *(f"data {name}: BLAKE2b {digest[:16]}…" for name, digest in sorted(training.data.items())),
    ]
    if manifest.seats:
        lines.append(f"seats: {', '.join(agent.name for agent in manifest.seats)}")
    for name, result in manifest.results.items():
        lines.append(f"{name}: Sharpe {result.policy.sharpe:.2f}, equal weight {result.equal_weight.sharpe:.2f}")
    return lines


COMMAND: Final = Command("Set up", 100, {**artifacts.COMMANDS, **forests.COMMANDS, "info": info, "verify": verify})
