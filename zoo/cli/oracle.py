"""zoo bench-oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import app, echo
from zoo.cli.progress import training_progress


@app.command("bench-oracle")
def bench_oracle(
    systems: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SYSTEM",
            help="seqgan, relgan or scratchgan; constant or noise, which are seqgan with other rewards. "
            "Without any: seqgan, constant and noise.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of its runs and of rows.json; existing runs are resumed.")] = (
        Path("runs/oracle")
    ),
    seeds: Annotated[int, typer.Option(min=1, help="How many oracles, each with its own texts and models.")] = 1,
    length: Annotated[int, typer.Option(min=2, max=100, help="Tokens of a text: 20 and 40 in the paper.")] = 20,
    pretrain: Annotated[float, typer.Option(min=0, help="Epochs of maximum likelihood, of 9,984 texts each.")] = 15,
    discriminator: Annotated[float, typer.Option(min=0, help="Epochs of the discriminator alone.")] = 3,
    adversarial: Annotated[float, typer.Option(min=0, help="Epochs of the adversarial training.")] = 3,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Recipe values for all systems.")
    ] = None,
) -> None:
    """Score text GANs on texts of a synthetic oracle, beside controls that have no discriminator.

    zoo bench-oracle
    zoo bench-oracle seqgan constant noise --seeds 3 --length 40 --set train.rollouts=16
    """
    from zoo.io.atomic import replace_atomically
    from zoo.text.oracle.benchmark import format_table, run_benchmark, to_json
    from zoo.text.oracle.model import Oracle

    with training_progress() as (log, _, on_step):
        rows = run_benchmark(
            systems or ("seqgan", "constant", "noise"),
            folder=out,
            seeds=range(seeds),
            length=length,
            pretrain_epochs=pretrain,
            discriminator_epochs=discriminator,
            adversarial_epochs=adversarial,
            overrides=overrides or (),
            on_step=on_step,
            log=log,
        )
    oracle_nll = {seed: Oracle(seed).own_nll(length)[0] for seed in range(seeds)}
    with replace_atomically(out / "rows.json") as temporary:
        temporary.write_text(json.dumps(to_json(rows, oracle_nll), indent=2) + "\n", encoding="utf-8")
    echo(format_table(rows, oracle_nll))
