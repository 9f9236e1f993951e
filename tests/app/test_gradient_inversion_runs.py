"""Whole runs in which the server follows its clients' training, and rebuilds their data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from local_runs import Config, Killed, kill_at, rounds, run, small

from app.registry import registry
from app.server.federation import Federation
from app.server.lending import lend_training
from app.settings import parse_run_config
from clients.bases import assemble
from clients.objectives import OBJECTIVES
from clients.plan import Recipe
from clients.preparation import ImageInputs, ImagePreparation
from clients.training import Prepared, train
from models.errors import ConfigurationError
from models.inversion.training import Pace, Synthetic
from models.inversion.unrolled import Box, Unrolled, network
from strategies.asynchronous.fedbuff import FedBuff
from strategies.asynchronous.gradient_inversion import GradientInversion

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize("adapter", ["head", "lora", "bias"])
def test_the_server_trains_as_a_client_does(adapter: str, vit_folder: Path) -> None:
    labels = tuple("0123456789")
    model = assemble(
        vit_folder,
        kind="image",
        labels=labels,
        base="",
        adapter=adapter,
        adapter_args={},
        seed=0,
        device="cpu",
    )
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (6, 1, 28, 28), dtype=np.uint8)
    classes = draw.integers(0, 10, 6)
    preparation = ImagePreparation.of(vit_folder)
    inputs = ImageInputs(pixels, preparation._scale, preparation._shift)
    recipe = Recipe(local_steps=3, batch_size=6, learning_rate=0.1, optimizer="sgd")
    start = model.read() + draw.normal(scale=0.05, size=model.schema.size).astype(np.float32)
    objective = OBJECTIVES["cross-entropy"]()
    trained = train(model, Prepared(inputs, classes, {}), start, recipe, objective, draw)
    pace = Pace(3, 0.1)
    box = Box(preparation.shape, *preparation.bounds)
    server = Unrolled(network(model), model.schema, box, 10, lambda n, t: pace)
    soft = np.where(np.arange(10) == classes[:, None], 50, -50).astype(np.float32)
    batch = inputs.batch(np.arange(6), model.device)["pixel_values"].numpy()
    assert (batch.min(), batch.max()) == pytest.approx((box.low.min(), box.high.max()), abs=1e-6)
    assert server.input_size == 784
    added = server.update(start, Synthetic(batch, soft), pace)
    np.testing.assert_allclose(added, trained.vector - start, atol=2e-6)
    assert np.abs(added).max() > 1e-3


@pytest.fixture
def config(tmp_path: Path, vit_folder: Path) -> Config:
    return small(tmp_path, vit_folder) | {
        "strategy": "gradient-inversion > fedbuff",
        "strategy-args": "gradient-inversion.images=4, gradient-inversion.iterations=12, "
        "gradient-inversion.warm-iterations=4",
        "closing-args": "size=2",
        "num-server-rounds": 4,
        "evaluate-every": 0,
        "local-steps": 3,
        "adapter": "head",
        "optimizer": "sgd",
        "learning-rate": 0.1,
        "clock": "virtual",
        "population": "pareto",
        "population-args": "speed=64, shape=1.0",
        "seed": 3,
    }


def test_a_run_converts_and_goes_on_after_a_kill_to_the_same_bits(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(config)
    lines = rounds(whole)
    assert sum(line["method"]["converted"] for line in lines[1:]) > 0
    assert all(0 <= line["method"].get("inversion_fit", 0) < 1 for line in lines[1:])
    assert "use it only with their consent" in caplog.text
    broken = {**config, "run-name": "broken"}
    with pytest.raises(Killed):
        run(broken, kill_at(4))
    folder = run({**broken, "resume": True})
    assert [r["method"] for r in lines] == [r["method"] for r in rounds(folder)]
    first, second = (
        (place / "adapter" / "adapter_model.safetensors").read_bytes() for place in (whole, folder)
    )
    assert first == second


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"optimizer": "adamw"}, "take optimizer = 'sgd' without optimizer-args"),
        ({"optimizer-args": "momentum=0.9"}, "take optimizer = 'sgd' without optimizer-args"),
        ({"objective": "fedprox"}, "the server follows cross-entropy, not 'fedprox'"),
        ({"norm-policy": "clip"}, "cuts the updates that data are sought for"),
        (
            {"strategy-args": "gradient-inversion.max-numbers=9"},
            "170 trainable numbers are more than max-numbers = 9",
        ),
        (
            {
                "strategy": "gradient-inversion > fedcompass",
                "strategy-args": "",
                "closing-args": "",
            },
            "whose clients train in their own way",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(config: Config, other: Config, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        run(config | other)


@pytest.mark.parametrize("kind", ["text", "table"])
def test_words_cannot_be_rebuilt(config: Config, kind: str) -> None:
    settings = parse_run_config(config, registry())
    plan = SimpleNamespace(kind=kind, objective="cross-entropy")
    federation = cast(Federation, SimpleNamespace(plan=plan))
    with pytest.raises(ConfigurationError, match=f"'{kind}' are not continuous.*only images"):
        lend_training(federation, settings, GradientInversion())
    lend_training(federation, settings, FedBuff())
