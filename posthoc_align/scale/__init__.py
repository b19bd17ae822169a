"""More rows than memory, cores or machines hold: streams, shards, stores."""

from posthoc_align.scale._moments_of import moments_of
from posthoc_align.scale._transform_store import transform_store
from posthoc_align.scale.ranks import all_reduce

__all__ = ["all_reduce", "moments_of", "transform_store"]
