"""Keras's optimizers for the TensorFlow backend, with TensorFlow's single-pass kernels for their updates.

The cost of an update is memory traffic: Keras's formulas pass over a variable and its slots many times, a kernel once.
Everything else is Keras's own: variables, names, configuration, weight decay. Keras also updates sparse gradients, for
which there is no kernel, and other dtypes than float32: in 16 bits little or nothing is left of a kernel's 1 - beta_2.

XLA fuses Keras's formulas by itself and has no AMSGrad kernel: use Keras's optimizers there.
"""

import keras


def _has_kernel(gradient, variable) -> bool:
    import tensorflow as tf

    return isinstance(gradient, tf.Tensor) and variable.dtype == "float32"


class _AdamUpdate:
    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its slots."""
        import tensorflow as tf

        if not _has_kernel(gradient, variable):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        kernel, slots = tf.raw_ops.ResourceApplyAdam, {}
        if self.amsgrad:
            kernel, slots = tf.raw_ops.ResourceApplyAdamWithAmsgrad, {"vhat": self._velocity_hats[index].handle}
        kernel(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            **slots,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )


class Adam(_AdamUpdate, keras.optimizers.Adam):
    """Adam and AMSGrad."""


class AdamW(_AdamUpdate, keras.optimizers.AdamW):
    """Adam with decoupled weight decay."""


class SGD(keras.optimizers.SGD):
    """Gradient descent, with or without momentum."""

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its slot."""
        import tensorflow as tf

        if not _has_kernel(gradient, variable):
            super().update_step(gradient, variable, learning_rate)
            return
        gradient, rate = tf.cast(gradient, tf.float32), tf.cast(learning_rate, tf.float32)
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].handle,
            lr=rate,
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


class RMSprop(keras.optimizers.RMSprop):
    """RMSprop; the centered form is Keras's own."""

    def build(self, variables):
        """Creates the slots, and scratch memory for the kernel if there is no momentum."""
        import tensorflow as tf

        if self.built:
            return
        super().build(variables)
        # The kernel always writes to a slot for momentum, which Keras lacks if there is no momentum. The scratch slot
        # must not be saved, so it is set without Keras's and TensorFlow's __setattr__, which track variables.
        scratch = [] if self._momentums else [tf.Variable(tf.zeros(v.shape, v.dtype), False) for v in variables]
        object.__setattr__(self, "_scratch", scratch)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its slots."""
        import tensorflow as tf

        if self.centered or not _has_kernel(gradient, variable):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._velocities[index].handle,
            mom=(self._momentums or self._scratch)[index].handle,
            lr=tf.cast(learning_rate, tf.float32),
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )
