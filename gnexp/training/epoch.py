"""The figures of one epoch."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The figures of one finished epoch.

    Attributes:
      epoch: its number, from 1.
      loss, accuracy: means over the epoch's images as each step found them, dropout on, as Keras gives them.
      val_loss, val_accuracy: over the validation set after the epoch. Both losses include the L2 terms.
      learning_rate: behind the epoch's last step, before the plateau rule.
      seconds: training and validation.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
