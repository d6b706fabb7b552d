"""`quantd train`: from options to a plan, its progress, and the model card at the end. Needs torch."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from quantd.bundled import find
from quantd.daemon.cli.command import Command, one_of
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import Bar, progress, say
from quantd.models.learners import names
from quantd.trading.exit_codes import CONFIG, USAGE

if TYPE_CHECKING:
    from quantd.models.training.plans.plan import Plan
    from quantd.models.training.runs.training_run import Track
    from quantd.models.training.seeds.seed_run import Progress


RUNS: Final = Path("state/training")
"""Records and checkpoints of each run, by its name."""

AGENTS: Final = (*names(), "scorer")

NEEDED: Final = ("torch", "onnx", "safetensors")

EPSILON_UNIT: Final = "each episode that ended, counted over all accounts"


@dataclass(frozen=True, slots=True)
class Asked:
    """Options of the command; None: as the plan has it."""

    plan: Path | None = None
    agent: str | None = None
    profile: str = ""
    steps: int | None = None
    episodes: int | None = None
    seeds: int | None = None
    seed: int | None = None
    bars: Path | None = None
    actions: str | None = None
    symbols: str | None = None
    envs: int | None = None
    learning_rate: float | None = None
    device: str | None = None
    bf16: bool = False
    sets: tuple[str, ...] = ()
    iterations: int | None = None


def train(
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN.toml]", help="What to train, as in examples/train.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            parser=one_of(AGENTS),
            metavar=f"[{'|'.join(AGENTS)}]",
            help="Who learns.",
            show_default="the plan's, or ppo",
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="Named settings of the agent, such as prioritized (dqn).")] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Env-steps of each seed.")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="The same in episodes of full length.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="How many, from 1 on.", show_default="5")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="This one alone.")] = None,
    bars: Annotated[Path | None, typer.Option(help="Daily raw bars.", show_default="data/us_daily.parquet")] = None,
    actions: Annotated[
        str | None, typer.Option(help='Splits, dividends; "" for none.', show_default="data/us_actions.csv")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Joined by commas.", show_default="AAPL,BAC,IWM,QQQ,SPY")] = None,
    envs: Annotated[int | None, typer.Option(min=1, help="Accounts that learn side by side.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the learner.")] = None,
    device: Annotated[str | None, typer.Option(help="Where tensors live.", show_default="cpu")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the artifact.", show_default="in the run's folder")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Name of the run.", show_default="the plan's name")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this run was stopped.")] = False,
    tracker: Annotated[
        Literal["files", "mlflow", "tensorboard", "none"] | None,
        typer.Option(
            help="Who else gets the curves; files are always written.", show_default="mlflow, where installed"
        ),
    ] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Multiply in bfloat16, where the learner can.")] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of a plan; may be given again.")
    ] = None,
    looks: Annotated[
        int, typer.Option("--test-looks", min=0, help="Looks at the test part before this run, by earlier forms.")
    ] = 0,
    show: Annotated[bool, typer.Option("--show", help="Print every setting and do nothing.")] = False,
    iterations: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Gradient steps of the scorer.", show_default="120")
    ] = None,
    on: Annotated[Literal["local", "ray"], typer.Option(help="Where seeds are fitted.")] = "local",
    workers: Annotated[int, typer.Option(min=1, max=10_000, help="Seeds at once.")] = 1,
    address: Annotated[
        str, typer.Option(help="Of a Ray cluster.", show_default="one begun on this machine, and ended")
    ] = "",
) -> int:
    """Train a policy and write it as an artifact with its model card. Ctrl-C stops it in order; --resume goes on."""
    if agent == "scorer":
        return scorer(
            out, bars=bars, actions=actions, symbols=symbols, seeds=seeds, iterations=iterations, resume=resume,
            sets=(plan, profile or None, steps, episodes, seed, envs, learning_rate, device, tracker, *(sets or ())),
        )  # fmt: skip
    asked = Asked(
        plan=plan, agent=agent, profile=profile, steps=steps, episodes=episodes, seeds=seeds, seed=seed, bars=bars,
        actions=actions, symbols=symbols, envs=envs, learning_rate=learning_rate, device=device, bf16=bf16,
        sets=tuple(sets or ()), iterations=iterations,
    )  # fmt: skip
    _needed()
    from quantd.models.training.plans.plan import replaced
    from quantd.models.training.runs import training_run
    from quantd.models.training.runs.workers import executor

    made = plan_of(asked)
    if experiment is not None:
        made = replaced(made, {"name": experiment})
    if show:
        for line in settings(made):
            say(line)
        return 0
    probed(made.data.files[0])
    name = made.name
    folder = RUNS / name
    out = out or folder / "artifact"
    _tell(f"training {name}: {made.agent}, {made.steps:,} env-steps a seed, seeds {', '.join(map(str, made.seeds))}")
    for line in settings(made):
        _tell(f"  {line}")
    command = " ".join(["quantd", "train", *_words(sys.argv)])
    with _stopping() as stopped, progress(f"train {name}") as bar:
        watch = _Watch(made, bar, stopped)
        training_run.train(
            made, out, command, watch.told, folder=folder, resume=resume, looked=looks, track=_track(tracker, name),
            executor=None if on == "local" and workers == 1 else executor(on, workers, address),
        )  # fmt: skip
    sys.stdout.write((out / "card.md").read_text())
    _tell(f"wrote {out}; records and checkpoints are in {folder}")
    return 0


def probed(bars: Path) -> None:
    """Read an unknown parquet file in a child process before it is read here. Raises FeedError."""
    from quantd.adapters.feeds.recorded.bar_files import probe

    if bars.is_file() and bars.suffix.lower() not in {".csv", ".txt"}:
        probe(bars)


def plan_of(asked: Asked) -> "Plan":
    """The plan that is asked for. Raises PlanError, Failure."""
    from quantd.models.training.plans.plan import default, read, replaced

    if asked.iterations is not None:
        raise Failure("--iterations is of the scorer; others take --steps", USAGE)
    if asked.plan is not None:
        if asked.agent is not None or asked.profile:
            raise Failure(f"{asked.plan} says agent and profile itself: leave --agent and --profile out", USAGE)
        plan = read(find(asked.plan))
    else:
        agents = "ppo" if asked.agent is None else asked.agent
        plan = default(agents, asked.profile)
    plan = replaced(plan, dict(_set(text) for text in asked.sets))
    return replaced(plan, _changes(asked, plan))


def settings(plan: "Plan") -> list[str]:
    """Every one, a line each."""
    from quantd.models.training.plans.plan import described

    units = {"learner.epsilon_decay": f"   (times this after {EPSILON_UNIT})"}
    return [f"{key} = {_shown(value)}{units.get(key, '')}" for key, value in described(plan).items()]


def scorer(
    out: Path | None,
    *,
    bars: Path | None,
    actions: str | None,
    symbols: str | None,
    seeds: int | None,
    iterations: int | None,
    resume: bool,
    sets: tuple[object, ...],
) -> int:
    """The scorer, which is trained through the simulator itself and has a command line of its own."""
    _needed()
    if out is None:
        raise Failure("--agent scorer needs --out, the folder of the artifact", USAGE)
    if resume or any(each is not None for each in sets):
        raise Failure(
            "--agent scorer takes --out, --bars, --actions, --symbols, --seeds and --iterations, nothing else", USAGE
        )
    from quantd.models.training.runs import scorer_run

    if bars is not None:
        probed(find(bars))
    names = [name for name in (symbols or "").split(",") if name]
    given: Mapping[str, object] = {"--bars": bars, "--actions": actions, "--seeds": seeds, "--iterations": iterations}
    words = ["--out", str(out)]
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    return scorer_run.main([*words, *(["--symbols", *names] if names else [])])


def _changes(asked: Asked, plan: "Plan") -> dict[str, object]:
    rate = "learner.actor_rate" if hasattr(plan.learner, "actor_rate") else "learner.learning_rate"
    changes: dict[str, object] = {
        "data.bars": None if asked.bars is None else str(asked.bars),
        "data.actions": asked.actions,
        "data.symbols": None if asked.symbols is None else [s for s in asked.symbols.split(",") if s],
        "market.batch": asked.envs,
        rate: asked.learning_rate,
        "device": asked.device,
        "steps": asked.steps,
    }
    if asked.episodes is not None:
        if asked.steps is not None:
            raise Failure("--steps and --episodes say the same thing: give one of them", USAGE)
        changes["steps"] = asked.episodes * plan.market.episodes.length
    if asked.seeds is not None and asked.seed is not None:
        raise Failure("--seeds says how many, --seed which one: give one of them", USAGE)
    if asked.seeds is not None:
        changes["seeds"] = list(range(1, asked.seeds + 1))
    if asked.seed is not None:
        changes["seeds"] = [asked.seed]
    if asked.bf16:
        from quantd.models.learners.record import learners

        able = [each.name for each in learners().values() if each.bfloat16]
        if plan.agent not in able:
            raise Failure(f"--bf16: {plan.agent} has no products in bfloat16; these have: {', '.join(able)}", USAGE)
        changes["learner.bfloat16"] = True
    return {key: value for key, value in changes.items() if value is not None}


def _set(text: str) -> tuple[str, object]:
    """KEY=VALUE, the value as TOML has it, or else as it stands."""
    import msgspec

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"--set {text}: KEY=VALUE is expected, such as learner.gamma=0.95", USAGE)
    try:
        return key.strip(), msgspec.toml.decode(f"value = {value}")["value"]
    except msgspec.DecodeError:
        return key.strip(), value.strip()


class _Watch:
    """Tells a person how it goes: a bar where one looks, else a line for each look at the validation part."""

    def __init__(self, plan: "Plan", bar: Bar, stopped: list[int]) -> None:
        self._bar: Final = bar
        self._plan: Final = plan
        self._stopped: Final = stopped

    def told(self, at: "Progress") -> bool:
        plan = self._plan
        number = plan.seeds.index(at.seed)
        best = "none yet" if at.best is None else f"{at.best:.2f}"
        pace = f"{at.steps_per_s:,.0f} steps/s"
        share = (number + min(1.0, at.steps / plan.steps)) / len(plan.seeds)
        self._bar(share, f"seed {number + 1} of {len(plan.seeds)} · {pace} · validation Sharpe, best: {best}")
        if at.looked and not sys.stderr.isatty():
            score = "none" if at.score is None else f"{at.score:.2f}"
            _tell(
                f"seed {at.seed}: {at.steps:,} of {plan.steps:,} steps, {pace}, validation Sharpe {score}, best {best}"
            )
        return bool(self._stopped)


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """SIGINT and SIGTERM ask to stop: what is yielded then has something in it. A second SIGINT stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        _tell(
            "stopping when this rollout is over; once more stops at once, and loses what came after the last checkpoint"
        )

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _track(name: str | None, experiment: str) -> "Track | None":
    """Who follows beside the files: by default MLflow, where it is installed."""
    if name in ("none", "files"):
        return None
    from quantd.models.training.runs import trackers
    from quantd.models.training.seeds.records import Tracker

    names = trackers.usual() if name is None else trackers.chosen([name])
    if not names:
        return None

    def followed(seed: int, folder: Path, resume_at: int | None) -> Tracker:
        made = [trackers.tracker(n, experiment, f"seed-{seed}", folder, resume_at=resume_at) for n in names]
        return trackers.Several(made, _tell)

    return followed


def _needed() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Failure(f"training needs {', '.join(missing)}: install quantd with its extra `train`", CONFIG)


def _words(arguments: list[str]) -> list[str]:
    """What the command was given, without --resume: it is the same training."""
    words = arguments[arguments.index("train") + 1 :] if "train" in arguments else []
    return [word for word in words if word != "--resume"]


def _shown(value: object) -> str:
    if value is None or value == "":
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


COMMAND: Final = Command(train, "Learn", order=10)
