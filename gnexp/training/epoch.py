"""The figures of one epoch."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The figures of one finished epoch.

    Attributes:
      epoch: its number, from 1.
      loss, accuracy: means over the epoch's images, taken during its steps, with dropout, as in Keras.
      val_loss, val_accuracy: means over the validation set after the epoch. Both losses include the L2 terms.
      learning_rate: the learning rate after the epoch's last step, before the plateau rule.
      seconds: time spent on training and validation.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
