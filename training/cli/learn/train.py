"""Train a policy or a forest and write it as an artifact with its card, or train an artifact again on newer data."""

import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import typer

from quantd.bundled import find, placed
from quantd.daemon.cli.command import Command, Json, RayAddress, day
from quantd.daemon.cli.failures import Failure, needs, note
from quantd.daemon.cli.output import Bar, answer, print_json, progress, say
from quantd.trading.exit_codes import CONFIG, USAGE
from quantd.training.cli.learn import plan_options
from quantd.training.cli.learn.artifact_files import (
    FOREST_SYMBOLS,
    failing,
    market_files,
    symbols_in,
)
from quantd.training.cli.learn.plan_options import given, plan_of, signals
from quantd.training.learners import names
from quantd.training.learners.record import learners

if TYPE_CHECKING:
    from quantd.training.cli.learn import agent_lines
    from quantd.training.plans.plan import Plan
    from quantd.training.runs.training_run import Track
    from quantd.training.seeds.seed_run import Progress


AGENTS: Final = (*names(), "scorer")

OPTION: Final = {"sets": "--set", "rules": "--rule", "as_json": "--json", "plan": "ARTIFACT"}
"""Field of the options -> its option, where their names differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The options of `quantd train`; an option that is None leaves the plan's value."""

    plan: plan_options.PlanFile = None
    agent: Annotated[str | None, plan_options.learner_of(AGENTS)] = None
    profile: plan_options.Profile = ""
    steps: Annotated[int | None, typer.Option(min=1, help="Environment steps of each seed.")] = None
    episodes: Annotated[int | None, typer.Option(min=1, help="The same in episodes of full length.")] = None
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="Number of seeds, from 1.", show_default="5")] = None
    seed: Annotated[int | None, typer.Option(min=0, help="This seed only.")] = None
    bars: plan_options.Bars = None
    actions: plan_options.Actions = None
    symbols: plan_options.Symbols = None
    envs: Annotated[int | None, typer.Option(min=1, help="Parallel accounts.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate of the learner.")] = None
    device: Annotated[str | None, typer.Option(help="Device of the tensors.", show_default="cpu")] = None
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the artifact.", show_default="in the run's folder")
    ] = None
    into: Annotated[
        Path | None, typer.Option("--into", metavar="config.toml", help="Name the artifact there, for agent `learned`.")
    ] = None
    experiment: Annotated[str | None, typer.Option(help="Name of the run.", show_default="the plan's name")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False
    tracker: Annotated[
        Literal["files", "mlflow", "tensorboard", "none"] | None,
        typer.Option(help="Tracker of the curves, beside the files.", show_default="mlflow, where installed"),
    ] = None
    bf16: Annotated[bool, typer.Option("--bf16", help="Multiply in bfloat16 where that is faster here.")] = False
    sets: plan_options.Sets = None
    looks: Annotated[
        int, typer.Option("--test-looks", min=0, help="Earlier evaluations on the test part, by other runs.")
    ] = 0
    show: Annotated[bool, typer.Option("--show", help="Print every setting and exit.")] = False
    iterations: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Gradient steps of the scorer.", show_default="120")
    ] = None
    on: plan_options.On = "local"
    workers: plan_options.Workers = 1
    address: RayAddress = ""
    forest: Annotated[
        Literal["risk", "correlation", "allocation"] | None,
        typer.Option(help="Train the random forest that predicts this; --set horizon=21, stride, folds, first, last.."),
    ] = None
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train an artifact or plan on newer data, as a version in --out.")
    ] = False
    until: Annotated[
        date | None,
        typer.Option(parser=day, metavar="DATE", help="With --retrain: last day read; the end of the bars."),
    ] = None
    against: Annotated[
        Path | None, typer.Option(help="With --retrain: the artifact in use.", show_default="the folder's version")
    ] = None
    expanding: Annotated[
        bool, typer.Option("--expanding", help="With --retrain: keep the start of the training part.")
    ] = False
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rule", metavar="KEY=VALUE", help=r"With --retrain: a key of \[retrain], such as confidence=0.9."
        ),
    ] = None
    as_json: Json = False


def train(options: TrainingOptions) -> int:
    from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars

    # trains and writes an artifact; `place` is where --into writes the agent, None without it
    needs("training", "torch", "onnx")
    from quantd.training.cli.learn import agent_lines  # not for the help: it reads configurations

    if options.retrain:
        return _retrain(options)
    if options.until or options.against or options.expanding or options.rules:
        raise Failure("--until, --against, --expanding and --rule belong to --retrain; add it", USAGE)
    if options.forest is not None:
        return _forest(options)
    place = None if options.into is None or options.show else agent_lines.place_in(options.into)
    if options.agent == "scorer":
        return _scorer(options)
    if options.iterations is not None:
        raise Failure("--iterations is an option of the scorer; other learners take --steps", USAGE)
    plan = _plan(options)
    from quantd.training.plans.plan import described
    from quantd.training.runs import training_run
    from quantd.training.runs.workers import executor

    settings = [f"{key} = {_shown(key, value)}" for key, value in described(plan).items()]
    if options.show:
        say("\n".join(settings))
        return 0
    begins = plan.splits.train.first - timedelta(days=plan.warmup_days)
    require_sound_bars(*plan.data.files, plan.data.symbols, begins, plan.splits.test.last)
    name = plan.name
    folder = placed("RESULTS_DIR", "state") / "training" / name  # its records and checkpoints
    default_out = placed("MODELS_DIR", folder) / name if os.environ.get("MODELS_DIR") else folder / "artifact"
    out = options.out or default_out
    note(f"training {name}: {plan.agent}, {plan.steps:,} env-steps a seed, seeds {', '.join(map(str, plan.seeds))}")
    for line in settings:
        note(f"  {line}")
    stops: list[int] = []

    def stop(signal_number: int) -> None:
        if stops:
            raise KeyboardInterrupt
        stops.append(signal_number)
        note("stopping after this rollout; once more stops at once, and loses the work since the last checkpoint")

    in_this_process = (options.on, options.workers, options.address) == ("local", 1, "")
    with signals(stop), progress(f"train {name}") as advance:
        training_run.train(
            plan, out, _command(sys.argv), _watch(plan, advance, stops), folder=folder, resume=options.resume,
            looked=options.looks, track=_track(options.tracker, name),
            executor=None if in_this_process else executor(options.on, options.workers, options.address),
        )  # fmt: skip
    _print_artifact(out, as_json=options.as_json)
    note(f"wrote {out}; records and checkpoints are in {folder}")
    _print_next_steps(plan, out, place)
    return 0


def _plan(options: TrainingOptions) -> "Plan":
    """The training plan: the plan file or the learner's defaults, changed by the options. Raises PlanError, Failure."""
    plan = plan_of(
        options.plan, options.agent, options.profile, options.sets, options.bars, options.actions, options.symbols,
        files=not options.show,
    )  # fmt: skip
    from quantd.training.plans.plan import replaced
    from quantd.training.plans.precision import instructions, precision
    from quantd.training.seeds.markets import check_device

    changes: dict[str, object] = {
        "market.batch": options.envs, "device": options.device, "steps": options.steps, "name": options.experiment,
    }  # fmt: skip
    rate_key = "learner.actor_rate" if hasattr(plan.learner, "actor_rate") else "learner.learning_rate"
    changes[rate_key] = options.learning_rate
    seeds_and_steps = _counts(plan, options.steps, options.episodes, options.seeds, options.seed)
    plan = replaced(plan, {**given(changes), **seeds_and_steps})
    if not options.show:
        check_device(plan.device)
    if not options.bf16:
        return plan
    with_bfloat16 = [learner.name for learner in learners().values() if learner.bfloat16]
    if plan.agent not in with_bfloat16:
        raise Failure(f"--bf16: {plan.agent} does not support bfloat16; these do: {', '.join(with_bfloat16)}", USAGE)
    chosen = precision(plan, instructions())
    note(f"--bf16: {chosen.reason}")
    return replaced(plan, {"learner.bfloat16": chosen.bfloat16})


def _print_next_steps(plan: "Plan", out: Path, place: "agent_lines.Place | None") -> None:
    """Write the policy into the configuration, and print the commands that test it on days outside its training.

    Without --into (`place` is None) the lines for config.toml are printed instead of written.
    """
    from quantd.training.cli.learn import agent_lines

    test = plan.splits.test
    if place is None:
        note("Lines for config.toml, with the capital that its agents leave:")
        note(agent_lines.lines(str(out), "0.4"))  # an example: the user writes the share that is free
        note(f"Next: quantd evaluate {out}")
        return
    note(agent_lines.write(place, out))
    config_option = "" if place.config == Path("config.toml") else f" -c {place.config}"
    note(
        f"Next: quantd evaluate {out}, quantd backtest{config_option} --from {test.first} --to {test.last}, "
        f"or quantd run{config_option}"
    )


def _scorer(options: TrainingOptions) -> int:
    """Train the scorer, a policy that learns through the simulator itself and has a separate command line.

    Raises Failure without --out, and for an option that the scorer does not take.
    """
    from quantd.daemon.cli.setup.bar_files import probed
    from quantd.training.runs import scorer_run

    out = _out_of(options, "--agent scorer", "agent", "bars", "actions", "symbols", "seeds", "iterations")
    if options.bars is not None:
        probed(find(options.bars))  # raises Failure for a file that cannot be read
    values: dict[str, object] = {
        "--bars": options.bars, "--actions": options.actions, "--seeds": options.seeds,
        "--iterations": options.iterations,
    }  # fmt: skip
    words = [word for option, value in given(values).items() for word in (option, str(value))]
    symbols = symbols_in(options.symbols)
    return scorer_run.main(["--out", str(out), *words, *(["--symbols", *symbols] if symbols else [])])


def _out_of(options: TrainingOptions, kind: str, *names: str) -> Path:
    """Return the folder --out. Raises Failure without it, and for an option that is not one of these fields."""
    if options.out is None:
        raise Failure(f"{kind} needs --out, the folder of the artifact", USAGE)
    for field in fields(options):
        if field.name not in ("out", *names) and getattr(options, field.name) != field.default:
            allowed = ", ".join(OPTION.get(name, f"--{name}") for name in ("out", *names) if f"--{name}" not in kind)
            raise Failure(f"{kind} takes only {allowed}: remove other options", USAGE)
    return options.out


def _print_artifact(out: Path, *, as_json: bool) -> None:
    """Print the model card of an artifact, or its manifest as JSON."""
    if as_json:
        print_json(msgspec.Raw((out / "manifest.json").read_bytes()))
    else:
        sys.stdout.write((out / "card.md").read_text())


def _forest(options: TrainingOptions) -> int:
    """Train a forest, test it walk-forward beside its plain estimate, and write it as an artifact."""
    from quantd.models.artifacts.folder import kind_of
    from quantd.models.artifacts.manifest import MANIFEST
    from quantd.training.forests.fit import Plan
    from quantd.training.retraining.recipes import ForestRecipe

    out = _out_of(options, "--forest", "forest", "bars", "actions", "symbols", "seed", "sets", "as_json")
    needs("training", "sklearn", "onnx", "polars")
    assert options.forest is not None
    files = market_files(options.bars, options.actions)
    if (out / MANIFEST).is_file() and kind_of(out) != "forest":
        raise Failure(f"{out} holds another kind of artifact; write to a new folder (--out)", CONFIG)
    changes = [*(options.sets or ()), *([] if options.seed is None else [f"seed={options.seed}"])]
    with failing("train --forest"), progress(f"training {options.forest}") as advance:
        recipe = ForestRecipe(tuple(symbols_in(options.symbols)) or FOREST_SYMBOLS, Plan(options.forest)).changed(
            changes
        )
        steps, last = itertools.count(1), recipe.settings()["folds"] + 1
        recipe.train(files[0], files[1] or Path(), out, _command(sys.argv), lambda line: advance(next(steps) / last))
    _print_artifact(out, as_json=options.as_json)
    return 0


def _retrain(options: TrainingOptions) -> int:
    """Train an artifact or a plan again on newer data as a new version, and test whether it may become a challenger."""
    from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars
    from quantd.daemon.policies.loading import artifact_folder
    from quantd.training.cli.learn.decision_output import print_decision
    from quantd.training.retraining import refit
    from quantd.training.retraining.recipes import rule_of

    out = _out_of(
        options, "--retrain", "retrain", "plan", "bars", "actions", "until", "against", "expanding", "sets", "rules",
        "as_json",
    )  # fmt: skip
    needs("training", "sklearn")
    if options.plan is None:
        raise Failure("--retrain needs the artifact or the plan to train again: quantd train ARTIFACT --retrain", USAGE)
    bars, actions = market_files(options.bars, options.actions)

    def folder_of(artifact: Path) -> Path:
        return artifact_folder(str(artifact), Path())

    source = find(options.plan) if options.plan.suffix == ".toml" else folder_of(options.plan)
    with failing("train --retrain"), progress(f"training {out.name} again") as advance:
        request = refit.RetrainingRequest(
            source, out, bars, actions or Path(), options.until,
            against=None if options.against is None else folder_of(options.against),
            expanding=options.expanding, changes=tuple(options.sets or ()), rule=rule_of(options.rules or ()),
        )  # fmt: skip
        steps = itertools.count(1)
        # the number of lines depends on the plan: the bar approaches its end
        decision = refit.retrain(request, lambda line: advance(1.0 - 0.98 ** next(steps)), require_sound_bars)
    document = {"folder": str(out / decision.version), **msgspec.to_builtins(decision)}
    answer(options.as_json, document, lambda: print_decision(decision, out))
    return 0


def _counts(
    plan: "Plan", steps: int | None, episodes: int | None, seeds: int | None, seed: int | None
) -> dict[str, object]:
    """The changes to the plan by --episodes, --seeds and --seed. Raises Failure for options that exclude each other.

    `seeds` is a number of seeds (1, 2, ..), `seed` one seed; an option that is None changes nothing.
    """
    changes: dict[str, object] = {}
    if episodes is not None:
        if steps is not None:
            raise Failure("--steps and --episodes exclude each other; give one of them", USAGE)
        changes["steps"] = episodes * plan.market.episodes.length
    if seeds is not None and seed is not None:
        raise Failure("--seeds (a number of seeds) and --seed (one seed) exclude each other; give one of them", USAGE)
    if seeds is not None or seed is not None:
        changes["seeds"] = list(range(1, seeds + 1)) if seeds is not None else [seed]
    return changes


def _watch(plan: "Plan", bar: Bar, stops: list[int]) -> "Callable[[Progress], bool]":
    """Return the callback of a training, which shows its progress and returns True to stop it.

    The callback moves a progress bar on a terminal; elsewhere it prints a line for each evaluation on the validation
    data. `stops` has the signals received; the first one stops the training.
    """

    shares = dict.fromkeys(plan.seeds, 0.0)

    def watch(reached: "Progress") -> bool:
        """Show the progress `reached` by a seed; off a terminal, only after an evaluation. Returns True to stop."""
        index = plan.seeds.index(reached.seed)
        shares[reached.seed] = min(1.0, reached.steps / plan.steps)
        best = "none yet" if reached.best is None else f"{reached.best:.2f}"
        pace = f"{reached.steps_per_s:,.0f} steps/s"
        bar(
            sum(shares.values()) / len(shares),
            f"seed {index + 1} of {len(plan.seeds)} · {pace} · validation {plan.ratio}, best: {best}",
        )
        if reached.looked and not sys.stderr.isatty():
            score = "none" if reached.score is None else f"{reached.score:.2f}"
            at_step = f"seed {reached.seed}: {reached.steps:,} of {plan.steps:,} steps, {pace}"
            note(f"{at_step}, validation {plan.ratio} {score}, best {best}")
        return bool(stops)

    return watch


def _track(name: str | None, experiment: str) -> "Track | None":
    """The function that opens the experiment tracker of a training seed. None: the training only writes its files.

    `name` is the option --tracker.
    """
    from quantd.training.runs import trackers
    from quantd.training.seeds.records import Tracker

    chosen = trackers.chosen(name)

    def tracker_of(seed: int, folder: Path, resume_at: int | None) -> Tracker:
        tracker = trackers.tracker(chosen, experiment, f"seed-{seed}", folder, resume_at=resume_at)
        return trackers.Dropping(tracker, note)

    return tracker_of if chosen else None


def _command(arguments: list[str]) -> str:
    """The command line for the model card, without --resume and --into, which do not change the policy."""
    words = arguments[arguments.index("train") + 1 :] if "train" in arguments else []
    pairs = zip(words, ["", *words], strict=False)  # each word beside the previous one: --into has its value after it
    recorded = [
        word for word, previous in pairs if "--into" not in (word.partition("=")[0], previous) and word != "--resume"
    ]
    return " ".join(["quantd", "train", *recorded])


def _shown(key: str, value: object) -> str:
    """The text of a setting's value for display; `key` is the key of the setting."""
    if value is None or value == "":
        return "none"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"
    unit = "   (multiplies after each completed episode of any account)" if key == "learner.epsilon_decay" else ""
    return text + unit


COMMAND: Final = Command("Learn", 10, train)
