"""Trains a classifier of handwritten digits and logs it, as somebody's own script would.

It runs as a process of its own, beside a `tripline.py` that was downloaded from the server. What it
prints, one JSON object per line, is what it measured itself: the tests compare the server with that.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import joblib  # type: ignore[import-untyped]
import numpy as np
import tripline  # type: ignore[import-not-found]  # downloaded from the server
from scipy.special import logsumexp  # type: ignore[import-untyped]
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

EPOCHS, BATCH = 2, 32


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Of softmax over the scores; NaN and infinity once the weights have left the range of floats."""
    with np.errstate(all="ignore"):
        each = logsumexp(scores, axis=1) - scores[np.arange(len(labels)), labels]
        return float(np.sum(each / len(labels)))


def train(learning_rate: float, run: tripline.Run) -> SGDClassifier:
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images / 16, labels, test_size=0.25, random_state=0, stratify=labels)
    seen, unseen, seen_labels, unseen_labels = split
    model = SGDClassifier(
        loss="log_loss", penalty=None, learning_rate="constant", eta0=learning_rate, random_state=0
    )
    shuffle = np.random.default_rng(0)
    batches = [shuffle.permutation(len(seen)) for _epoch in range(EPOCHS)]
    for step, start in enumerate(range(0, EPOCHS * len(seen), BATCH)):
        batch = np.concatenate(batches)[start : start + BATCH]
        model.partial_fit(seen[batch], seen_labels[batch], classes=np.arange(10))
        accuracy = float(model.score(unseen, unseen_labels))
        loss = cross_entropy(model.decision_function(unseen), unseen_labels)
        run.log({"val": {"accuracy": accuracy, "loss": loss}}, step=step)
        print(json.dumps({"step": step, "accuracy": accuracy, "loss": loss}), flush=True)  # noqa: T201
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--project", required=True)
    options = parser.parse_args()
    config = {"learning_rate": options.learning_rate, "epochs": EPOCHS, "batch": BATCH}
    run = tripline.init(project=options.project, config=config, name=f"digits-{options.learning_rate:g}")
    model = train(options.learning_rate, run)
    file = Path("digits.joblib")
    joblib.dump(model, file)
    version = run.log_artifact(file, name="digits-classifier", metadata={"features": 64})
    run.finish()
    print(json.dumps({"version": version.id, "number": version.version, "run": run.id}))  # noqa: T201


if __name__ == "__main__":
    main()
