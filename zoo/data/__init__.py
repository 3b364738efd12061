"""Real samples on disk: memory maps that are built once, with a table of attributes, a split and a fingerprint."""

from zoo.data.batches import Batches
from zoo.data.store import About, Rows, Store, build_store, cache_dir, hash_split

__all__ = ["About", "Batches", "Rows", "Store", "build_store", "cache_dir", "hash_split"]
