"""Embeddings of many rows and layers in a folder of shards."""

from posthoc_align.embedding_store._store import EmbeddingStore

__all__ = ["EmbeddingStore"]
