"""The loader: dataset + sampler + collate = batches.

Invariant: an epoch draws from the random generators what PyTorch's loader draws: one base seed
when iter() is called (with which worker processes are seeded), then what the sampler draws for the
first batch. So under one seed the batches agree, and so does all that is random after them.
PyTorch: torch/utils/data/dataloader.py.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from minitorch import cuda, random
from minitorch.utils.data.collate import default_collate, default_convert, pinned
from minitorch.utils.data.dataset import Dataset, IterableDataset
from minitorch.utils.data.deliveries import Deliveries
from minitorch.utils.data.fetch import map_fetcher, stream_fetcher
from minitorch.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)
from minitorch.utils.data.workers import Workers

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Iterates over a dataset in batches. Mirrors torch.utils.data.DataLoader.

    `batch_size=None` (without a batch_sampler) turns batching off: samples come one by one through
    default_convert. With num_workers > 0 that many processes make the batches: deliveries.py.
    Raises ValueError for options that contradict each other; while iterating, what a worker has
    raised, and RuntimeError if one dies or none answers within `timeout` seconds.
    """

    _frozen = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context=None,
        generator: random.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        self._check_workers(
            num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context
        )
        self.is_stream = isinstance(dataset, IterableDataset)
        if self.is_stream:
            _check_unspecified(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive "
                    "with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching "
                "and is mutually exclusive with drop_last"
            )

        if sampler is None:
            if self.is_stream:
                sampler = itertools.repeat(None)  # a stream has no keys, only "the next one"
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)

        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.base_seed: int | None = None  # of the workers; theirs for good if they stay
        self.workers: Workers | None = None  # those that stay
        self.promised_length: int | None = None  # what len() has said of a stream
        self._frozen = True

    @staticmethod
    def _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, context) -> None:
        if num_workers < 0:
            raise ValueError(
                "num_workers option should be non-negative; "
                "use num_workers=0 to disable multiprocessing."
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, "
                "otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        if context is not None and num_workers == 0:
            raise ValueError(
                "multiprocessing_context can only be used with multi-process loading "
                f"(num_workers > 0), but got num_workers={num_workers}"
            )

    def __setattr__(self, name: str, value) -> None:
        if self._frozen and name in (
            "batch_size",
            "batch_sampler",
            "sampler",
            "drop_last",
            "dataset",
            "persistent_workers",
        ):
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    def __iter__(self) -> _Epoch:
        return _Epoch(self)

    def __len__(self) -> int:
        """The number of batches. For a stream, what its own len() promises."""
        if not self.is_stream:
            return len(self.index_sampler)
        n = self.promised_length = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    @property
    def index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler


class _Epoch:
    """One pass over a DataLoader."""

    def __init__(self, loader: DataLoader):
        if loader.num_workers == 0 and loader.timeout != 0:
            raise AssertionError(
                "DataLoader: timeout is the longest wait for a worker process, and needs "
                f"num_workers > 0; got timeout={loader.timeout} with num_workers=0"
            )
        if loader.prefetch_factor == 0:
            raise AssertionError(
                "DataLoader: prefetch_factor must be greater than 0: it is how many batches each "
                "worker makes ahead"
            )
        self._pin = loader.pin_memory and cuda.is_available()
        if loader.pin_memory and not self._pin:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, "
                "then device pinned memory won't be used.",
                stacklevel=3,
            )
        self._loader = loader
        self._indices = iter(loader.index_sampler)
        if loader.base_seed is None or not loader.persistent_workers:
            loader.base_seed = draw_seed(loader.generator)
        self._given = 0
        if loader.num_workers:
            workers = loader.workers or Workers(loader)
            if loader.persistent_workers:
                loader.workers = workers
            self._batches: Iterator = Deliveries(loader, workers, self._indices)
        else:
            fetch = (stream_fetcher if loader.is_stream else map_fetcher)(loader)
            self._batches = map(fetch, self._indices)

    def __iter__(self) -> _Epoch:
        return self

    def __next__(self):
        batch = next(self._batches)
        self._given += 1
        promised = self._loader.promised_length
        if promised is not None and self._given > promised:
            self._warn_of_length(promised)
        return pinned(batch) if self._pin else batch

    def __len__(self) -> int:
        return len(self._loader.index_sampler)

    def _warn_of_length(self, promised: int) -> None:
        text = (
            f"Length of IterableDataset {self._loader.dataset} was reported to be {promised} "
            f"(when accessing len(dataloader)), but {self._given} samples have been fetched."
        )
        if self._loader.num_workers:
            text += " Each worker goes through all of it, unless it looks at get_worker_info()."
        warnings.warn(text, stacklevel=3)


def _check_unspecified(shuffle, sampler, batch_sampler) -> None:
    """An IterableDataset decides on its order by itself."""
    if shuffle not in (False, None):
        raise ValueError(
            "DataLoader with IterableDataset: expected unspecified shuffle option, "
            f"but got shuffle={shuffle}"
        )
    for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, "
                f"but got {name}={value}"
            )
