"""Asks the outside agents of a backtest, once per sample, and stores their answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.assembly.parts import Assembly
from quantd.research.outside.answer_gains import sample_returns
from quantd.research.outside.foresight import Foresight, foresight
from quantd.research.outside.questions import (
    Names,
    WrongAnswer,
    answer_of,
    other_names,
    question_of,
    true_names,
    weights_of,
)
from quantd.research.outside.stored_answers import StoredAnswers, key_of
from quantd.research.outside.transport import CommandProcess, HttpAddress, NoAnswer, Transport
from quantd.research.runs.failures import Unanswered
from quantd.research.runs.run_record import Record
from quantd.strategies.policies.holding import OutsideParams, OutsidePolicy
from quantd.strategies.policies.params import ParamsError
from quantd.trading.display_text import session_date
from quantd.trading.market import Floats
from quantd.trading.ports import leaves
from quantd.trading.view import Hold, View

FOLDER: Final = "answers"
"""Folder of the stored answers in the state folder."""

T = TypeVar("T")


class AskedAgent(Struct, frozen=True):
    """Counts for one agent in a backtest: `asked` are its new answers, `stored` its answers read from disk."""

    agent: str
    asked: int
    stored: int


@dataclass(slots=True)
class Budget:
    """Counts the questions of a backtest. `most` is the largest number to ask; None for no bound."""

    most: int | None = None
    asked: int = 0
    stored: int = 0

    def text(self) -> str:
        word = "question" if self.asked == 1 else "questions"
        return f"{self.asked:,} {word} answered, {self.stored:,} answers taken from the store"


@dataclass(slots=True)
class Asker:
    """Asks one outside agent. Raises Unanswered for a question without an answer, or beyond the budget of questions.

    `parts` are the command or address, the prompt and the files of the agent: when one of them changes, stored answers
    are not used. `short` is True where its weights may be negative. `asked` counts its new answers, `stored` those read
    from disk.
    """

    agent: str
    params: OutsideParams
    transport: Transport
    answers: StoredAnswers
    names: Names
    budget: Budget
    parts: tuple[bytes, ...]
    short: bool
    asked: int = 0
    stored: int = 0
    decided: dict[int, Floats] = field(default_factory=dict)
    """The weights of each answer by the time (ns UTC) of its question; the weights of the book where it holds."""

    def __call__(self, view: View) -> Floats | Hold:
        """Return the agent's weights at `view`, from the stored answer to the same question, else from a new answer.

        Raises Unanswered for a wrong answer or none, and where the budget of questions is exhausted.
        """
        question = question_of(self.agent, view, self.params.lookback, self.params.model, self.names)
        # `parts` identify the agent: command or address, prompt and files
        key = key_of(msgspec.json.encode(question), *self.parts)
        date = session_date(view.time - 1).isoformat()
        answer = self.answers.find(key)
        is_stored = answer is not None
        try:
            if answer is None:
                if self.budget.most is not None and self.budget.asked >= self.budget.most:
                    raise NoAnswer(f"the budget of {self.budget.most:,} questions is exhausted; raise --most-questions")
                text = msgspec.json.encode(replace(question, id=key))  # the key is computed without an id
                answer = answer_of(self.transport.ask(text, self.params.timeout_s), key)
            weights = weights_of(answer, self.names, short=self.short)
        except (NoAnswer, WrongAnswer) as error:
            rerun_hint = "a rerun asks only what is missing"
            raise Unanswered(f"{date}: agent {self.agent}: {error}; {self.budget.text()}; {rerun_hint}") from None
        if is_stored:
            self.stored += 1
            self.budget.stored += 1
        else:
            self.answers.add(key, answer)
            self.asked += 1
            self.budget.asked += 1
        # an agent that holds decides for the weights it has
        self.decided[view.time] = view.weights.copy() if isinstance(weights, Hold) else weights
        return weights

    def under(self, names: Names) -> dict[int, Floats]:
        """Show `names` to the agent in the next run. Return the weights of the run that ended, by time (ns UTC)."""
        decided_weights, self.decided, self.names = self.decided, {}, names
        self.transport.close()  # the next question starts a new process, which remembers nothing
        return decided_weights


@dataclass(slots=True)
class Askers:
    """The outside agents of one backtest."""

    assembly: Assembly
    askers: tuple[Asker, ...]
    _true_weights: dict[str, dict[int, Floats]] = field(default_factory=dict)
    _true_names: dict[str, Names] = field(default_factory=dict)

    def rename(self) -> None:
        """Let the agents see other names of symbols and dates in the next run."""
        for asker in self.askers:
            self._true_names[asker.agent] = asker.names
            seed = f"{self.assembly.market} {asker.agent}"
            self._true_weights[asker.agent] = asker.under(other_names(asker.names.symbols, seed))

    def verdicts(self, stamps: Sequence[int]) -> tuple[Foresight, ...]:
        """Compare the runs before and after the call of `rename`, and return a verdict for each agent.

        Later runs use true names. `stamps` are the samples of both runs (ns UTC).
        """
        # `under` returns the answers of the run under other names, and restores the true ones
        renamed = [asker.under(self._true_names[asker.agent]) for asker in self.askers]
        returns = sample_returns(self.assembly.feed, stamps)
        return tuple(
            foresight(asker.agent, self._true_weights[asker.agent], renamed_weights, returns)
            for asker, renamed_weights in zip(self.askers, renamed, strict=True)
        )

    def counts(self) -> tuple[AskedAgent, ...]:
        """Return for each agent how many answers it gave now and how many were read from disk."""
        return tuple(AskedAgent(asker.agent, asker.asked, asker.stored) for asker in self.askers)


class Questioned(Struct, frozen=True):
    """Counts of the questions to outside agents, and the verdicts of a run under other names, if there was one."""

    counts: tuple[AskedAgent, ...] = ()
    verdicts: tuple[Foresight, ...] = ()

    @property
    def knows(self) -> bool:
        """True where the verdict on any outside agent is that it knows the future."""
        return any(verdict.knows for verdict in self.verdicts)

    @property
    def foreknowledge(self) -> str:
        """The verdicts on outside agents that know the future, as a clause; empty if no agent does."""
        return "; ".join(f"agent {verdict.text}" for verdict in self.verdicts if verdict.knows)

    @property
    def first_lines(self) -> list[str]:
        """The verdicts on the outside agents, which are printed before the figures of the run."""
        return [verdict.text for verdict in self.verdicts]

    def lines(self) -> list[str]:
        """The counts of questions, and the figures of each measure of foresight, as lines of text."""
        counts = [
            f"  {count.agent}: {count.asked:,} questions asked, {count.stored:,} answers from the store"
            for count in self.counts
        ]
        return counts + [f"  {line}" for verdict in self.verdicts for line in verdict.lines()]


def asked_run(
    assembly: Assembly,
    folder: Path,
    most: int | None,
    run: Callable[[], T],
    renamed: Callable[[], object] | None,
    record: Record,
) -> tuple[T, Questioned]:
    """Call `run`, and return its result and the counts of the questions to outside agents.

    If `renamed` is given, it is called after `run`, with other symbol names for the agents, and the verdicts on them
    are returned too. `record` has the samples of `run`. Raises Unanswered for an agent without a usable answer, or
    after `most` questions, and ParamsError for a prompt that cannot be read.
    """
    with asked_in(assembly, folder, most) as askers:
        result = run()
        if renamed is None:
            return result, Questioned(askers.counts())
        askers.rename()
        renamed()
        return result, Questioned(askers.counts(), askers.verdicts(record.ts))


@contextmanager
def asked_in(assembly: Assembly, folder: Path, most: int | None = None) -> Iterator[Askers]:
    """Connect the outside agents of a run (`assembly`), until the context ends. Its end also ends their processes.

    Answers are stored in the state folder `folder`. Raises ParamsError for a prompt that cannot be read.
    """
    budget, askers = Budget(most), list[Asker]()
    for policy_number, policy in enumerate(assembly.policies):
        for leaf in leaves(policy):
            if isinstance(leaf, OutsidePolicy):
                asker = _asker(assembly, policy_number, leaf.params, StoredAnswers(folder / FOLDER), budget)
                leaf.ask = asker
                askers.append(asker)
    try:
        yield Askers(assembly, tuple(askers))
    finally:
        for open_asker in askers:
            open_asker.transport.close()


def _asker(
    assembly: Assembly, policy_number: int, params: OutsideParams, answers: StoredAnswers, budget: Budget
) -> Asker:
    """Return the `Asker` of one policy. Raises ParamsError for a prompt file that cannot be read.

    `policy_number` is an index into the policies of all agents, followed by the policies of the shadows (agents whose
    decisions are not traded).
    """
    config, rules = assembly.config, assembly.rules
    agent = config.seats[policy_number]
    limits = (
        *(agent_rules.limits for agent_rules in rules.agents),
        *(shadow.agents[0].limits for shadow in rules.shadows),
    )[policy_number]
    folder = config.source.folder
    prompt = b""
    if params.prompt:
        try:
            prompt = config.at(params.prompt).read_bytes()
        except OSError as error:
            text = f'[[agents]] "{agent.name}" params.prompt = {params.prompt!r}: {error.strerror}; name a text file'
            raise ParamsError(text) from None
    endpoint = msgspec.json.encode(params.command or params.address)
    # a changed program is another agent: the files that the command names are part of the key
    files = [folder / word for word in params.command]
    file_contents = tuple(file.read_bytes() for file in files if file.is_file() and file.suffix)
    transport = CommandProcess(params.command, folder) if params.command else HttpAddress(params.address)
    # `house` has the limits of the whole account
    short = limits.allow_short and rules.house.allow_short
    names = true_names(assembly.universe.symbols)
    return Asker(agent.name, params, transport, answers, names, budget, (endpoint, prompt, *file_contents), short)
