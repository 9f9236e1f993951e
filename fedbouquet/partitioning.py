"""Partitioners for `flwr_datasets.FederatedDataset`, apart because they bring datasets along."""

from clients.data.embeddings.partitioner import EmbeddingPartitioner

__all__ = ["EmbeddingPartitioner"]
