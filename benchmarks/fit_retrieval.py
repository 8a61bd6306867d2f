"""Fits the likelihood of `healspan.remediation.retrieval` on the tasks that `retrieval.py` does not measure.

    python benchmarks/fit_retrieval.py --data FILE

Prints the constants of `retrieval/likelihood.py` as they have to be written there. The lookups are those of
`lookups.py`, for one failure of each group: known and new, as they are and after each edit. An answer is right if its
first solution is of the kind that was looked up.

The threshold is the lowest at which the share of wrong ones in what would be reused has an upper limit of at most one
in a hundred: the 95 % point of 1,000 draws of as many tasks, with what was looked up of them, since the failures of one
task are wrong together. The likelihoods it is read from are those of fits that had not seen the task.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from lookups import Answer, Shelf, edited, one_of_each_group, plain
from rich.console import Console
from rich.progress import track
from scipy import optimize
from tracebacks import is_measured, read

from healspan.remediation.retrieval import Hit
from healspan.remediation.retrieval.likelihood import weighed

WRONG_AT_MOST = 0.01
FOLDS = 5
PENALTY = 0.05
"""Of the squared coefficients, against certainty that the data cannot bear."""


def fit(signs: np.ndarray, right: np.ndarray) -> tuple[float, list[float]]:
    """Return the intercept and the coefficients of an L2-penalised logistic regression."""

    def loss(weights: np.ndarray) -> float:
        logits = weights[0] + signs @ weights[1:]
        return float(np.logaddexp(0.0, np.where(right, -logits, logits)).sum() + PENALTY * (weights[1:] ** 2).sum())

    weights = optimize.minimize(loss, np.zeros(signs.shape[1] + 1), method="BFGS").x
    return round(float(weights[0]), 2), [round(float(weight), 2) for weight in weights[1:]]


def unseen(signs: np.ndarray, right: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Return each answer's likelihood from a fit on the answers of other tasks."""
    folds = tasks % FOLDS
    likelihoods = np.zeros(len(right))
    for fold in range(FOLDS):
        likelihoods[folds == fold] = judge(signs[folds == fold], *fit(signs[folds != fold], right[folds != fold]))
    return likelihoods


def judge(signs: np.ndarray, intercept: float, coefficients: list[float]) -> np.ndarray:
    """Return the likelihoods."""
    return 1.0 / (1.0 + np.exp(-(intercept + signs @ np.array(coefficients))))


def threshold(likelihoods: np.ndarray, right: np.ndarray, tasks: np.ndarray) -> float:
    """Return the lowest threshold at which reuse is surely wrong seldom enough; 1 if there is none."""
    chance = np.random.default_rng(20261126)
    number = tasks.max() + 1
    draws = chance.multinomial(number, np.full(number, 1 / number), size=1_000)
    for at in np.arange(0.5, 1.0, 0.001):
        reused = likelihoods >= at
        of_task = np.bincount(tasks[reused], minlength=number)
        wrong_of_task = np.bincount(tasks[reused & ~right], minlength=number)
        if np.quantile((draws @ wrong_of_task) / np.maximum(draws @ of_task, 1), 0.95) <= WRONG_AT_MOST:
            return round(float(at), 3)
    return 1.0


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the file with the tracebacks")
    options = parser.parse_args()
    shelf = Shelf(failure for failure in read(options.data) if not is_measured(failure.task))
    looked_up = one_of_each_group(shelf.failures)
    lookups = plain(shelf, looked_up) + edited(shelf, looked_up)
    shown = track(lookups, "looking up", console=Console(stderr=True))
    answers = [answer for answer in shelf.answer(shown, shelf.ours(shelf.index())) if answer.found]
    hits = [_hit(answer) for answer in answers]
    signs = np.array([weighed(hit.signs) for hit in hits])
    right = np.array([answer.right[0] for answer in answers])
    names = sorted({answer.lookup.taken_out.task for answer in answers})
    tasks = np.array([names.index(answer.lookup.taken_out.task) for answer in answers])
    possible = np.array([hit.same_boundary and hit.signs.same_type and hit.signs.same_name for hit in hits])
    at = threshold(np.where(possible, unseen(signs, right, tasks), 0.0), right, tasks)
    intercept, coefficients = fit(signs, right)
    reused = possible & (judge(signs, intercept, coefficients) >= at)
    print(f"{len(shelf.failures)} failures, {len(answers)} answers, {right.mean():.3f} of them right")
    print(f"INTERCEPT: Final = {intercept}\nCOEFFICIENTS: Final = {tuple(coefficients)}\nREUSE_AT: Final = {at}")
    print(f"reused {reused.mean():.3f}, of those wrong {(~right[reused]).mean():.4f}")


def _hit(answer: Answer) -> Hit:
    hit = answer.found[0].hit
    if hit is None:
        raise TypeError("only answers of our index have signs")
    return hit


if __name__ == "__main__":
    main()
