"""Terms beside those of Eq. (12)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchreid_daam.data.paired import rows_of

Term = Callable[[Any, Mapping[str, Any]], torch.Tensor | None]
"""(output, batch) -> scalar, or None where it does not apply."""


class MoreTerms:
    """The engine's terms: others' and further ones, each with a weight.

    Further terms are of rounds alone: line 1 of Algorithm 1 stays as it is.

    Args:
        base: gives terms and their total, such as ``DAAMLoss``.
        more: ``{name: (weight, term)}``; no name of the base's.
    """

    def __init__(
        self, base: Any, more: Mapping[str, tuple[float, Term]]
    ) -> None:
        self.base = base
        self.more = dict(more)

    def __call__(
        self, output: Any, batch: Mapping[str, Any]
    ) -> dict[str, torch.Tensor]:
        """All terms that apply to a batch, unweighted, by name."""
        terms = dict(self.base(output, batch))
        if 'pid_t' not in batch:
            return terms
        for name, (_, term) in self.more.items():
            value = term(output, batch)
            if value is not None:
                terms[name] = value
        return terms

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum.

        Raises:
            ValueError: if there is no term.
        """
        further = [
            weight * terms[name]
            for name, (weight, _) in self.more.items()
            if name in terms
        ]
        own = {k: v for k, v in terms.items() if k not in self.more}
        if further and not own:
            return sum(further)
        return sum(further, self.base.total(own))


def rows_of_target(
    values: torch.Tensor, batch: Mapping[str, Any]
) -> torch.Tensor:
    """Rows (n_t, ...) of a joint batch's (N, ...) that are the target's."""
    return values[rows_of(batch, 't')]
