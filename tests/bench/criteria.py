"""Which criterion loses least: perplexity after pruning, criterion by depth, with intervals over seeds.

    python tests/bench/criteria.py model.gguf --text encyclopedia.txt --text novel.txt --out results

Each text is split: the first half calibrates, the last 35 % is held out; what lies between (`--split tuning`) is for
choosing settings, so that nothing is chosen by what is reported. A seed draws both the calibration windows and the held-out
ones. Criterion `none` cuts nothing: the control for `--heal` and `--distil`. With `--blimp` minimal pairs are judged, too,
without BOS. Where the scores of `ablation` are there, the table tells how far the others agree with them. Scores and
measurements are kept in the folder RESULTS, so the bench can be stopped and resumed, and run again for more seeds, criteria
or depths; `--table` only prints.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from criteria_table import Setting, append, read, table

from epi_surgery.rank.order import spearman
from epi_surgery.score_file import read_scores

CRITERIA = ("taylor", "taylor-squared", "taylor-token", "gradact", "attnlrp", "l0", "random")


def main() -> None:
    options = arguments()
    options.out.mkdir(exist_ok=True)
    results = options.out / "results.jsonl"
    known = {one.setting for one in read(results)}
    wanted = [setting for setting in settings(options) if setting not in known]
    if wanted and not options.table:
        from pruned_model import PrunedModel

        model = PrunedModel(options.model, options.text, options.out, options.blimp)
        for number, setting in enumerate(wanted, 1):
            append(results, model.measure(setting, options.evaluation))
            print(f"{number} of {len(wanted)}: {setting}", file=sys.stderr, flush=True)
    found = [one for one in read(results) if one.setting.split == options.split]
    print(table(found, len(options.text), agreement(options.out, {one.setting.criterion for one in found})))


def agreement(folder: Path, criteria: Iterable[str]) -> dict[str, float]:
    """Mean over seeds of each criterion's rank correlation with the ablation of the same seed."""
    oracles = {path.stem.removeprefix("ablation-"): read_scores(path).scores for path in folder.glob("ablation-*.json")}
    found = {}
    for criterion in criteria:
        pairs = [(folder / f"{criterion}-{seed}.json", oracle) for seed, oracle in oracles.items()]
        values = [spearman(read_scores(path).scores, oracle) for path, oracle in pairs if path.exists()]
        if values:
            found[criterion] = float(np.mean(values))
    return found


def settings(options: argparse.Namespace) -> Iterator[Setting]:
    """Every combination that was asked for, one seed after the other."""
    shields = list(dict.fromkeys([(), tuple(options.protect)]))
    for choice in product(options.seeds, options.criteria, options.layouts, options.depths, shields):
        seed, criterion, layout, depth, shield = choice
        treatment = (
            options.heal,
            options.distil,
            options.split,
            options.rate,
            options.pairs if options.blimp else 0,
            options.refine,
        )
        yield Setting(criterion, seed, layout, depth, shield, *treatment)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--depths", type=float, nargs="+", default=[0.11, 0.22, 0.33, 0.44])
    parser.add_argument("--criteria", nargs="+", default=CRITERIA)
    parser.add_argument("--layouts", nargs="+", default=["ragged"])
    parser.add_argument("--protect", type=int, nargs="*", default=[], help="measure each plan with these layers protected, too")
    parser.add_argument("--refine", type=int, default=0, metavar="ROUNDS", help="exchange heads by the loss, so many rounds")
    parser.add_argument("--heal", choices=["o", "o+down"], default="", help="re-solve these projections before measuring")
    parser.add_argument("--distil", type=int, default=0, metavar="STEPS", help="and then train so many steps, 256 tokens each")
    parser.add_argument("--rate", type=float, default=1e-4, help="Adam's rate in these steps")
    parser.add_argument("--split", choices=["held-out", "tuning"], default="held-out", help="the part of each text measured on")
    parser.add_argument("--evaluation", type=int, default=2048, help="held-out tokens per text and seed")
    parser.add_argument("--blimp", type=Path, help="also judge minimal pairs: folder with BLiMP's .jsonl files")
    parser.add_argument("--pairs", type=int, default=10, help="so many of each test")
    parser.add_argument("--table", action="store_true", help="only print what the results hold")
    options = parser.parse_args()
    if options.distil and not options.heal:
        parser.error("--distil trains what --heal re-solved: give --heal, too")
    return options


if __name__ == "__main__":
    main()
