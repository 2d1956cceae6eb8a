"""The flat epoch axis: which stage of Algorithm 1 an epoch belongs to.

``[0, pretrain_epoch)`` is line 1 of Algorithm 1 in arXiv:1905.10529, then
each round of ``round_epoch`` epochs is one iteration of lines 2 to 6.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Stage(NamedTuple):
    """Where an epoch is; what its random keys begin with.

    Attributes:
        name: ``pretrain`` or ``adapt``.
        round: from 1; 0 in pretraining.
        epoch: within pretraining or within the round, from 0.
    """

    name: str
    round: int
    epoch: int


@dataclass(frozen=True)
class Epochs:
    """Lengths of the stages, and what follows from them.

    Attributes:
        pretrain_epoch: epochs on the source alone.
        rounds: iterations of Algorithm 1.
        round_epoch: epochs of each.
    """

    pretrain_epoch: int
    rounds: int
    round_epoch: int

    @property
    def total(self) -> int:
        """Length of the axis."""
        return self.pretrain_epoch + self.rounds * self.round_epoch

    def stage(self, epoch: int) -> Stage:
        """The stage of an epoch, counted from 0."""
        if epoch < self.pretrain_epoch:
            return Stage('pretrain', 0, epoch)
        finished, within = self.finished(epoch)
        return Stage('adapt', finished + 1, within)

    def finished(self, done: int) -> tuple[int, int]:
        """Finished rounds after ``done`` epochs, and epochs of the next."""
        return divmod(max(0, done - self.pretrain_epoch), self.round_epoch)

    def ends_stage(self, done: int) -> bool:
        """Whether pretraining, or a round, ends after ``done`` epochs."""
        after = done - self.pretrain_epoch
        return after >= 0 and after % self.round_epoch == 0

    def progress(self, epoch: int, share: float) -> float:
        """Share of the adaptation done, for terms that warm up.

        Args:
            epoch: of a round.
            share: of the epoch, in [0, 1].
        """
        # Whole epochs first: the share has the same bits where pretraining
        # was loaded.
        done = epoch - self.pretrain_epoch + share
        return done / (self.rounds * self.round_epoch)
