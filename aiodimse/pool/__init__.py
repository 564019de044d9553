"""Associations to one peer, shared by the tasks of an application."""

from aiodimse.pool.lending import Lease, PooledOperation
from aiodimse.pool.pool import Pool
from aiodimse.pool.store_many import StoreResult

__all__ = ["Lease", "Pool", "PooledOperation", "StoreResult"]
