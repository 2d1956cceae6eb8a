"""An order whose batches hold P identities with K images of each."""

import numpy as np


class BalancedIdentities:
    """Batches of P labels times K images, different cameras first.

    PK batches are those of Hermans et al., In Defense of the Triplet Loss,
    2017; choosing the K images from different cameras is what MMT (Ge et
    al., ICLR 2020) and SpCL (Ge et al., NeurIPS 2020) do on pseudo labels.
    One pass takes each label once, whatever its size, in random order; those
    at its end that fill no batch are left out, others in each pass. Config
    key ``sampler.train_sampler_t``.

    Args:
        batch_size: P * K.
        num_instances: K. Config key ``sampler.num_instances``.

    Raises:
        ValueError: if K does not divide the batch.
    """

    def __init__(self, batch_size: int, num_instances: int) -> None:
        if batch_size % num_instances:
            raise ValueError(
                f'batch_size={batch_size} is no multiple of '
                f'num_instances={num_instances}'
            )
        self.num_instances = num_instances
        self.num_labels = batch_size // num_instances

    def __call__(
        self,
        labels: np.ndarray,
        cameras: np.ndarray,
        generator: np.random.Generator,
    ) -> np.ndarray:
        """One pass.

        Args:
            labels: (N,), -1 = left out.
            cameras: (N,).
            generator: decides the order.

        Returns:
            Indices; each P * K of them are a batch. Where there are fewer
            than P labels, a batch holds some of them again.
        """
        used = np.flatnonzero(labels >= 0)
        members = _grouped(used, labels[used])
        turn = generator.permutation(len(members))
        missing = self.num_labels - len(turn)
        if len(turn) > 0 and missing > 0:
            turn = np.resize(turn, self.num_labels)
        turn = turn[: len(turn) // self.num_labels * self.num_labels]
        chosen = [
            self._images(members[k], cameras[members[k]], generator)
            for k in turn
        ]
        return np.array(chosen, dtype=np.int64).reshape(-1)

    def _images(
        self,
        images: np.ndarray,
        cameras: np.ndarray,
        generator: np.random.Generator,
    ) -> np.ndarray:
        """K of one label's images; all cameras once before any twice."""
        mixed = generator.permutation(len(images))
        images, cameras = images[mixed], cameras[mixed]
        # How often an image's camera came before; equal ones are drawn anew,
        # else a camera of many images would come first.
        before = np.empty(len(images), dtype=np.int64)
        for group in _grouped(np.arange(len(images)), cameras):
            before[group] = np.arange(len(group))
        images = images[np.lexsort((generator.random(len(images)), before))]
        # A small cluster shows its images again.
        return np.resize(images, self.num_instances)


def _grouped(values: np.ndarray, keys: np.ndarray) -> list[np.ndarray]:
    """The values of each key, in their order."""
    order = np.argsort(keys, kind='stable')
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    return np.split(values[order], cuts) if len(values) else []
