"""Dividing rows without labels: by their length, and by clusters of embeddings."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.data import DataSpec, load_federation
from clients.data.embeddings import clusters
from clients.data.embeddings.clusters import kmeans_codes
from clients.data.embeddings.partitioner import EmbeddingPartitioner
from clients.data.texts import texts_of
from models.errors import DataError

Write = Callable[[str, dict[str, list[object]]], Path]

TOPICS = ("the ship sailed over the sea with {} men", "add {} eggs and flour to the bread dough")


def topics(count: int) -> dict[str, list[object]]:
    """Two topics in turn; the longer a text, the larger its number."""
    return {
        "text": [TOPICS[row % 2].format("x" * row) for row in range(count)],
        "label": [row % 2 for row in range(count)],
        "vector": [[float(row % 2), row / 1e6] for row in range(count)],
    }


def spec(data: Path, partition: str, **args: object) -> DataSpec:
    pairs = tuple((name.replace("_", "-"), value) for name, value in args.items())
    return DataSpec(str(data), partition=partition, partition_args=pairs, num_clients=4)


def parts(codes: np.ndarray, clients: int, **options: object) -> list[np.ndarray]:
    partitioner = EmbeddingPartitioner(clients, "c", **options)  # type: ignore[arg-type]
    partitioner.dataset = datasets.Dataset.from_dict({"c": codes, "row": range(len(codes))})
    assert partitioner.num_partitions == clients
    return [np.asarray(partitioner.load_partition(i)["row"]) for i in range(clients)]


class Fixed:
    """A generator that draws what the test says, and shuffles nothing."""

    def dirichlet(self, concentration: np.ndarray, size: int) -> np.ndarray:
        np.testing.assert_allclose(concentration, [0.3, 0.2])
        assert size == 2
        return np.array([[0.75, 0.25], [0.25, 0.75]])

    def permutation(self, rows: np.ndarray) -> np.ndarray:
        return rows


def test_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q^T m = (60, 40) has m = (70, 30), so M = ((52.5, 17.5), (7.5, 22.5)), cut at 52 and 18."""
    monkeypatch.setattr(np.random, "default_rng", lambda _: Fixed())
    first, second = parts(np.repeat([0, 1], [60, 40]), 2, alpha=0.5)
    assert first.tolist() == [*range(52), *range(60, 78)]
    assert second.tolist() == [*range(52, 60), *range(78, 100)]


@settings(max_examples=20, deadline=None)
@given(
    clients=st.integers(2, 15),
    kinds=st.integers(1, 12),
    alpha=st.floats(0.3, 20.0),
    seed=st.integers(0, 2**31),
)
def test_every_row_once_and_enough_for_each(
    clients: int, kinds: int, alpha: float, seed: int
) -> None:
    codes = np.random.default_rng(seed).integers(0, kinds, 400)
    try:
        found = parts(codes, clients, alpha=alpha, seed=seed, min_partition_size=3)
    except ValueError:
        assert clients < kinds or kinds == 1  # one cluster that a draw gives to too few
        return
    assert sorted(np.concatenate(found)) == list(range(400))
    assert min(map(len, found)) >= 3
    again = parts(codes, clients, alpha=alpha, seed=seed, min_partition_size=3)
    assert all((one == other).all() for one, other in zip(found, again, strict=True))


def test_alpha_rules_how_different_clients_are() -> None:
    codes = np.arange(3000) % 10

    def largest(alpha: float) -> float:
        found = parts(codes, 20, alpha=alpha)
        return float(np.mean([np.bincount(codes[p]).max() / len(p) for p in found]))

    assert largest(0.1) > 0.85
    assert largest(100.0) < 0.3


def test_clusters_are_those_of_the_embeddings_whatever_the_threads() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 300)
    rows = np.eye(3)[truth] * 10 + random.normal(size=(300, 3))
    codes = kmeans_codes(rows, 3, seed=1)
    assert len({(t, c) for t, c in zip(truth, codes, strict=True)}) == 3
    assert set(kmeans_codes(np.ones((4, 2)), 3, seed=1)) == {0}
    by_rows = EmbeddingPartitioner(5, "e", alpha=1.0, clusters=3, seed=1)
    by_rows.dataset = datasets.Dataset.from_dict({"e": rows, "row": range(300)})
    found = [by_rows.load_partition(i)["row"] for i in range(5)]
    assert [list(part) for part in found] == [
        p.tolist() for p in parts(codes, 5, alpha=1.0, seed=1)
    ]


@pytest.mark.parametrize("source", ["inputs", "column", "model"])
def test_texts_of_one_topic_meet(source: str, write: Write, bert_folder: Path) -> None:
    args = {"column": {"column": "vector"}, "model": {"model": str(bert_folder)}}.get(source, {})
    data = write("topics.jsonl", topics(120))
    federation = load_federation(spec(data, "embeddings", clusters=2, alpha=0.05, **args))
    shares = []
    for client in federation.client_ids:
        counts = federation.client(client).train.label_counts()
        shares.append(max(counts.values()) / sum(counts.values()))
    assert np.mean(shares) > (0.6 if source == "model" else 0.8)


def test_chats_are_embedded_by_an_encoder_without_a_template(
    write: Write, bert_folder: Path
) -> None:
    """And none is left out, however far behind its response begins."""
    said = ["good film " * 80, "bad"]
    chats = [
        [{"role": "user", "content": said[n % 2]}, {"role": "assistant", "content": "a very"}]
        for n in range(40)
    ]
    data = write("chats.jsonl", {"messages": list(chats)})
    args = {"model": str(bert_folder), "clusters": 2, "alpha": 0.05}
    wanted = replace(spec(data, "embeddings", **args), task="causal-lm")
    found = load_federation(wanted)
    for client in found.client_ids:
        first = {text[0].content for text in texts_of(found.client(client).train)}
        assert first <= set(said)
    topics = clusters.cluster_codes(found.pooled().train.table, args, 0)
    assert len(topics) == len(found.pooled().train.table)
    assert set(topics[0::2]).isdisjoint(topics[1::2])


def test_a_process_reads_the_clusters_that_another_found(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clients.data import federation

    wanted = spec(write("again.jsonl", topics(80)), "embeddings", clusters=2)
    first = {c: d.train.indices for c, d in load_federation(wanted).clients.items()}
    federation._load.cache_clear()
    monkeypatch.setattr(clusters, "kmeans_codes", None)
    again = {c: d.train.indices for c, d in load_federation(wanted).clients.items()}
    assert first.keys() == again.keys()
    assert all((first[client] == again[client]).all() for client in first)


def test_images_are_divided_by_what_they_show() -> None:
    wanted = DataSpec(
        partition="embeddings", partition_args=(("alpha", 0.05), ("clusters", 10)), num_clients=12
    )
    found = load_federation(wanted)
    tops = []
    for client in found.client_ids:
        counts = found.client(client).train.label_counts()
        tops.append(max(counts.values()) / sum(counts.values()))
    assert np.mean(tops) > 0.5  # ten digits: a tenth where the draw is by chance


def test_texts_of_one_length_meet(write: Write) -> None:
    data = write("lengths.jsonl", topics(200))

    def spans(strictness: float) -> list[tuple[int, int]]:
        found = load_federation(spec(data, "length", strictness=strictness))
        lengths = [
            [len(t) for t in (*d.train.inputs(), *d.test.inputs())] for d in found.clients.values()
        ]
        return [(min(of), max(of)) for of in lengths]

    strict = spans(1.0)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(strict))
    assert all(high - low > 100 for low, high in spans(0.0))


@pytest.mark.parametrize(
    ("partition", "args", "message"),
    [
        ("embeddings", {"model": "tiny-vit"}, "is made for each run anew; name a folder"),
        ("embeddings", {"column": "text"}, "column 'text' does not hold one list of numbers"),
        ("embeddings", {"column": "vectr"}, r"no column 'vectr' .* did you mean 'vector'"),
        ("embeddings", {"min_size": 30}, "Raise alpha, or lower num-clients, clusters or min-size"),
    ],
)
def test_what_cannot_be_embedded_is_said(
    partition: str, args: dict[str, object], message: str, write: Write
) -> None:
    with pytest.raises(DataError, match=message):
        load_federation(spec(write("few.jsonl", topics(60)), partition, **args))


def test_images_have_no_length() -> None:
    with pytest.raises(DataError, match="needs texts, and the data are images"):
        load_federation(DataSpec(partition="length", partition_args=()))
