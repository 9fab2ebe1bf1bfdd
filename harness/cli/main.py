"""The `sigmabench` command line: options in, one call, output.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..core.errors import UserError, few_warnings
from ..peers.environment import ENVIRONMENTS
from ..studies import flags
from ..studies.known import STUDIES
from .bundle_commands import submit, verify
from .corruptions_command import corruptions
from .export_command import export
from .history_command import history
from .report_commands import compare, pack, report
from .study_commands import StudyGroup, option
from .terminal import (
    MEMORY,
    echo,
    echo_json,
    show,
    write,
)

if TYPE_CHECKING:
    from ..studies.study import Option
    from ..workload.workload import Workload

DEFAULT_WORKLOAD = "lenet-digits"
RESULTS = "results"
Command = TypeVar("Command", bound=Callable[..., None])

STORED = "what was finished is stored, and the same command goes on from there."
AGAIN = {"train": "add --resume to go on from the last complete epoch."}


@contextmanager
def _told(ctx: click.Context) -> Iterator[None]:
    """Turns a `UserError` into one sentence and exit status 2, and Ctrl-C into status 130."""
    try:
        with few_warnings(lambda warning: echo(f"sigmabench: {warning}", err=True)):
            yield
    except BrokenPipeError:
        ctx.exit(0)  # who reads has what they want
    except UserError as error:
        echo(f"sigmabench: {error}", err=True)
        ctx.exit(2)
    except KeyboardInterrupt:
        name = ctx.invoked_subcommand or ""
        studied = name in {one.group or one.name for one in STUDIES.usable().values()}
        again = STORED if studied else AGAIN.get(name, "run the command again.")
        echo(f"sigmabench: interrupted; {again}", err=True)
        ctx.exit(130)


class _Context(click.Context):
    def get_help(self) -> str:
        """Written here, in characters that the output has and with an error of ours: click sends
        UTF-8 to every terminal."""
        write(f"{super().get_help()}\n")
        self.exit()


class _Group(StudyGroup):
    context_class = _Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _told(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _told(ctx):
            return super().invoke(ctx)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        write(f"sigmabench, version {version('sigmabench')}\n")
        ctx.exit()


def _workload(name: str) -> Workload:
    from ..workload.workload import resolve_workload

    return resolve_workload(name)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Benchmark quantized Bayesian neural networks on this CPU."""


class _Bench(StudyGroup):
    context_class = _Context
    of = "bench"


@main.group(cls=_Bench)
def bench() -> None:
    """Time the runtime itself on networks with synthetic posteriors."""


def _options(declared: Sequence[Option]) -> Callable[[Command], Command]:
    """A decorator that adds options that studies have too, in the order given."""

    def decorate(command: Command) -> Command:
        for one in reversed(declared):
            command = option(one)(command)
        return command

    return decorate


DATA = option(flags.DATA)


@main.command("list")
@click.option("--posteriors", is_flag=True, help="Posteriors and networks that ship, with hashes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def list_(posteriors: bool, as_json: bool) -> None:
    """List workloads, formats, backends, scenarios, metrics, observers and recipes."""
    from . import commands

    if posteriors:
        echo_json(commands.posteriors()) if as_json else show(*commands.posterior_tables())
    else:
        echo_json(commands.listing()) if as_json else show(*commands.listing_tables())


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
@click.option("--seconds", type=float, default=1.0, help="Seconds that the noise check takes.")
@click.option(
    "--environments",
    type=click.Path(path_type=Path),
    default=ENVIRONMENTS,
    help="Folder of the peers' environments.",
)
def doctor(as_json: bool, seconds: float, environments: Path) -> None:
    """Show what this machine has, what each backend needs, and how noisy it is."""
    from .commands import diagnosis, diagnosis_tables

    found = diagnosis(seconds, environments)
    echo_json(found) if as_json else show(*diagnosis_tables(found))


@main.command()
@click.argument("workload")
@click.option(
    "--recipe",
    help="Recipe; `sigmabench list` lists them.  [default: best, or the first where none has "
    "that name]",
)
@click.option("--seed", type=int, default=0, help="Seed of everything random.")
@click.option("--limit", type=int, help="Number of training images to use.  [default: all]")
@click.option("--device", default="cpu", help="PyTorch device.")
@DATA
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Posterior file to write.  [default: named after the run]",
)
@click.option("--resume", is_flag=True, help="Resume from the checkpoint beside --out.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def train(
    workload: str,
    recipe: str | None,
    seed: int,
    limit: int | None,
    device: str,
    data: Path | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a posterior for WORKLOAD; it is scored on the validation split only."""
    from ..training.train import default_path
    from ..training.train import train as train_posterior

    chosen = _workload(workload)
    named = chosen.recipe(recipe)
    trained = train_posterior(
        chosen,
        named,
        out=out or default_path(chosen.name, named.name, seed),
        seed=seed,
        limit=limit,
        data=data,
        device=device,
        resume=resume,
        progress=not as_json,
    )
    if as_json:
        echo_json({"path": str(trained.path), **trained.metadata})
        return
    scores = trained.metadata["validation"]
    shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
    echo(f"{trained.path}: validation {shown}")


@main.command()
@click.argument("workload", default=DEFAULT_WORKLOAD)
@_options((*flags.SOURCE, *flags.QUANTIZATION))
@click.option("--out", type=click.Path(path_type=Path), default=".", help="Directory to write to.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def quantize(workload: str, out: Path, as_json: bool, **choices: Any) -> None:
    """Write WORKLOAD's artefacts, one file per format."""
    from ..workload.choices import plan_from
    from .commands import size_table, write_artefacts

    written = write_artefacts(plan_from(_workload(workload), **choices), out)
    echo_json(written) if as_json else show(size_table(written))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def inspect(file: Path, as_json: bool) -> None:
    """Show what FILE, an artefact or a posterior, holds."""
    from .commands import inspection, inspection_tables

    found = inspection(file)
    echo_json(found) if as_json else show(*inspection_tables(found))


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--workload", help="Workload whose network the names and shapes are checked against.")
@click.option(
    "--network",
    type=click.Path(path_type=Path),
    help="File of the network that laplace-torch fitted: a posterior or a state dict.",
)
@MEMORY
def convert(source: Path, out: Path, workload: str | None, network: Path | None) -> None:
    """Convert another library's SOURCE to a posterior OUT, or back.

    SOURCE is the state_dict() of a model of bayesian-torch or torch-uncertainty, or of a diagonal
    approximation of laplace-torch, written by torch.save or as .safetensors; nothing in it is
    executed. laplace-torch's needs --workload and, where it is of the last layer, --network. A
    posterior as SOURCE becomes a state_dict() of bayesian-torch.
    """
    from ..posterior.convert import convert as convert_file
    from ..posterior.convert import read_network

    chosen = None if workload is None else _workload(workload)
    if network is not None and chosen is None:
        raise UserError("--network is checked against a workload's network; name it by --workload.")
    fitted = read_network(network, chosen.model()) if network and chosen else None
    convert_file(source, out, None if chosen is None else chosen.model(), fitted)
    echo(out)


for command in (report, compare, export, pack, history, corruptions, submit, verify):
    main.add_command(command)
for command in main.commands.values():
    command.context_class = _Context
