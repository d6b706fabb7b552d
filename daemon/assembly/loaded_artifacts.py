"""Makes the policy of an artifact that an operator loads for an agent while the run goes on."""

import os
from collections.abc import Callable
from pathlib import Path

from quantd import bundled
from quantd.daemon.assembly.limits import agent_limits, house_limits, shocks_of
from quantd.daemon.config import Agent, Config
from quantd.daemon.config.schema import Feed
from quantd.daemon.engine.planning.targets import headroom
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.policies.composed import distrusted, with_rules
from quantd.daemon.policies.loading import Apart, PolicyError, artifact_folder, fit, graphs_of
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.instruments import Membership, Universe
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves


class NoArtifact(ExplainedError, ValueError):
    """No artifact (trained model on disk) has the requested name."""

    exit_code = CONFIG


class Elsewhere(ExplainedError, ValueError):
    """The artifact (trained model on disk) lies outside the folders from which one may be loaded."""

    exit_code = CONFIG


def loaded_policy(
    config: Config,
    rules: Rules,
    interval_ns: int,
    agent: Agent,
    path: str,
    members: Membership | None,
    isolation: Apart | None,
) -> Policy:
    """Return the policy of the artifact `path`, wrapped in the sizing and rebalancing rules of `agent`.

    The checks are those of a start: manifest, files, golden probe (recorded inputs whose outputs must be reproduced),
    signature, universe, inputs. The run stores the history that its configured policies read; the artifact may not read
    more. Raises ValueError (PolicyError is one) where the artifact does not fit the run.
    """
    # imported here because a run without artifacts does not need it
    from quantd.models.artifacts.loader import load_artifact

    # {}: no parameter of the trained policy is overridden
    policy = load_artifact(artifact_folder(path, config.source.folder), {}, graphs_of(isolation))
    fit(policy, rules.universe)
    if fault := distrusted(policy, [config.at(name) for name in config.models.trusted_keys]):
        raise PolicyError(fault)
    for leaf in leaves(policy):
        require_inputs(config.feed, agent.name, leaf)
        if getattr(leaf, "uses_bars", False) and not rules.keep_bars:
            raise PolicyError(
                f"{path} reads whole bars, which this run does not store; "
                "write it as a policy in config.toml and start again"
            )
    agent_policy = with_rules(config, agent, policy, factor_of(config, rules.universe, interval_ns, agent), members)
    if agent_policy.lookback > rules.lookback:
        raise PolicyError(
            f"{path} reads {agent_policy.lookback} samples, but this run stores only {rules.lookback}; "
            "write it as a policy in config.toml and start again"
        )
    return agent_policy


def named(config: Config, path: str, version: str = "", beside: str = "") -> str:
    """Return the value of the key `policy` of [[agents]] that names the artifact `path`, with a pointer to a version
    resolved.

    `beside` is the artifact that decides now. With an empty `path`, `version` is another version of that artifact. The
    name of a shipped model needs no folder: `full` is models/shipped/full. Raises NoArtifact, and Elsewhere for an
    artifact outside the folder of the configuration, the folders of its artifacts and models/shipped.
    """
    from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
    from quantd.models.artifacts.versions import CURRENT, current, resolved

    folder = config.source.folder
    if not path:
        # `beside` is a folder of versions, or one version in such a folder
        folder_beside = bundled.find(beside, folder)
        path = str(Path(beside) if (folder_beside / CURRENT).is_file() else Path(beside).parent)
    name = os.path.normpath(Path(path, version) if version else path)
    if name in (shipped := _shipped()) and not (folder / name).exists():
        name = f"models/shipped/{name}"
    artifact = bundled.find(name, folder)
    real_path, roots = artifact.resolve(), (folder, bundled.SHIPPED, *_artifact_folders(config))
    if not any(real_path.is_relative_to(root.resolve()) for root in roots):
        raise Elsewhere(
            f"{name} is outside the folder of the configuration, the folders of its artifacts and models/shipped; copy "
            "it into one of them"
        )
    try:
        if resolved(artifact) != artifact:
            name = os.path.join(name, current(artifact))
    except ArtifactError as error:
        raise NoArtifact(str(error)) from None
    if not (bundled.find(name, folder) / MANIFEST).is_file():
        raise NoArtifact(
            f"{name} has no {MANIFEST}; name the folder of a trained policy, one of its versions, or a shipped "
            f"model: {', '.join(shipped)}"
        )
    return name


def _shipped() -> list[str]:
    return sorted(entry.name for entry in bundled.SHIPPED.iterdir() if entry.is_dir())


def version_of(config: Config, path: str) -> str:
    """Return the version of an artifact, if it lies in a folder of versions; else empty."""
    from quantd.models.artifacts.versions import CURRENT

    artifact = bundled.find(path, config.source.folder)
    return artifact.name if (artifact.parent / CURRENT).is_file() else ""


def _artifact_folders(config: Config) -> list[Path]:
    """Return the parent folders of the artifacts (trained models on disk) that the configuration names."""
    places = [bundled.find(agent.policy, config.source.folder) for agent in config.seats if "/" in agent.policy]
    return [place.parent for place in places if place.is_dir()]


def factor_of(config: Config, universe: Universe, interval_ns: int, agent: Agent) -> Callable[[Floats], float]:
    """Return a function from weights, float64[N] by instrument, to the factor by which the limits of `agent` scale them
    all."""
    house = house_limits(config, universe, interval_ns)
    limits = agent_limits(config, agent, house, universe, shocks_of(config))
    return lambda weights: headroom(weights, limits, house)


def require_inputs(feed: Feed, agent: str, policy: Policy) -> None:
    """Raise PolicyError for a series that a policy reads, if the feed lacks it or switches it off.

    Only a series per symbol can be switched off ([feed] series with use = false).
    """
    for key, series_kind, names in (
        ("macro", "macro series", getattr(policy, "uses_macro", ())),
        ("series", "series per symbol", getattr(policy, "uses_series", ())),
    ):
        for name in sorted(names):
            if (name if key == "macro" else f"series {name}") in feed.inputs:
                continue
            lacks = "which [feed] series switches off; write use = true there"
            if key == "macro" or name not in feed.unused_series:
                lacks = f'which the feed does not have; write [feed] {key} = [{{ name = "{name}", path = "FILE" }}]'
            raise PolicyError(f'[[agents]] "{agent}": reads the {series_kind} {name!r}, {lacks}')
