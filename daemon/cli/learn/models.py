"""`quantd models`: what an artifact states of itself, whether it is whole, and the commands on artifacts and
forests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quantd.daemon.cli.command import Command, Folder, Json
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.learn import artifacts, forests
from quantd.daemon.cli.output import iso, print_json, say
from quantd.trading.exit_codes import CONFIG, DONE

if TYPE_CHECKING:
    from quantd.models.artifacts.manifest import AgentManifest


group = typer.Typer(help="Trained artifacts: what they say, whether they are whole; the forests.", no_args_is_help=True)


@group.callback()
def models_group() -> None:
    """Trained artifacts: what they say, whether they are whole; the forests."""


COMMAND: Final = Command(group, "Set up", order=100)


@group.command("info")
def info(folder: Folder, as_json: Json = False) -> int:
    """Print what an artifact says of itself, all of it checked first."""
    import msgspec

    from quantd.daemon.cli.learn.artifact_files import place_of
    from quantd.models.artifacts.loader import checked
    from quantd.models.artifacts.manifest import MANIFEST, AgentManifest
    from quantd.models.forests.prediction import ForestArtifact

    place = place_of(folder)
    artifact = checked(place)
    manifest = artifact.manifest
    said: Any = msgspec.to_builtins(manifest)
    if isinstance(artifact, ForestArtifact):
        said["training_seconds"] = artifact.seconds
    if as_json:
        print_json(said)
        return DONE
    say((place / "card.md").read_text())
    if isinstance(manifest, AgentManifest):
        for line in facts(manifest):
            say(line)
    for name, entry in sorted(said["files"].items()):
        say(f"{name}: {entry['size']} bytes, BLAKE2b {entry['blake2b'][:16]}…")
    say(f"{MANIFEST}: digest {said['digest']}")
    return DONE


@group.command("verify")
def verify(
    folder: Folder,
    keys: Annotated[
        list[Path] | None, typer.Option("--key", metavar="FILE", help="A public key that signed it.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make every check that trading makes, the probe on this machine included; exit code 78 when one fails."""
    from quantd.daemon.cli.learn.artifact_files import place_of
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import kind_in, load_artifact

    place = place_of(folder)
    policy = load_artifact(place, {})
    kind = kind_in(place).name
    until = policy.trained_until_ns
    if keys:
        for where, digest in signature.artifacts_in(policy):
            if fault := signature.signature_fault(where, digest, keys):
                raise Failure(fault, CONFIG)
    if as_json:
        print_json(
            {
                "folder": str(place),
                "kind": kind,
                "whole": True,
                "digest": policy.digest,
                "trained_until": iso(until),
                "signed": bool(keys),
            }
        )
        return DONE
    signed = "; signed" if keys else ""
    named = {"learned": "a learned policy", "ensemble": "an ensemble"}.get(kind, f"a {kind}")
    say(f"{place}: {named}, whole; its probe answers as it should here; trained until {iso(until)[:10]}{signed}")
    return DONE


for _name, _action in {**artifacts.ACTIONS, **forests.ACTIONS}.items():
    group.command(_name)(_action)


def facts(manifest: "AgentManifest") -> list[str]:
    """Of a learned policy, one line each: whatever its card says, this is what it is."""
    training, shape, sight = manifest.training, manifest.network, manifest.sight
    until = iso(training.until_ns)[:10]
    lines = [
        f"algorithm: {manifest.algorithm}{f', profile {manifest.profile}' if manifest.profile else ''}, "
        f"{manifest.precision}",
        f"network: {shape.kind} {' '.join(map(str, shape.hidden))}, {shape.parameters} numbers",
        f"sight: {', '.join([*sight.features, 'known'])}; window {sight.window}; book "
        f"{', '.join(sight.book) or 'unseen'}; "
        f"hash {manifest.sight_hash}",
        f"actions: {manifest.action.kind}",
        f"universe: {', '.join(manifest.universe)}",
        *(f"{name}: {w.first} to {w.last}" for name, w in training.windows.items()),
        f"trained until {until}; seeds {', '.join(map(str, training.seeds))}, of them {training.chosen_seed}",
        *(f"data {name}: BLAKE2b {digest[:16]}…" for name, digest in sorted(training.data.items())),
    ]
    if manifest.seats:
        lines.append(f"seats: {', '.join(seat.name for seat in manifest.seats)}")
    for name, result in manifest.results.items():
        lines.append(f"{name}: Sharpe {result.policy.sharpe:.2f}, equal weight {result.equal_weight.sharpe:.2f}")
    return lines
