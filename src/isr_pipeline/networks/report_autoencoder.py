"""The report's network, to the parameter: 1,110,403 of them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from isr_pipeline.networks import output_name
from isr_pipeline.networks.layers import BicubicUpsampling, CropToMatch


def report_autoencoder(scales: Sequence[int], residual: bool = False) -> keras.Model:
    """The convolutional autoencoder of the report *Image Super Resolution with Autoencoders*.

    It works on an already enlarged picture, so that its cost does not fall with the scale: small
    pictures are enlarged with nearest neighbours first, which is what the data set's pixelated
    files look like. At scale 1 the pixelated picture itself is the input.

    Every convolution is 3x3 and followed by a ReLU, *also the last*: once its inputs are negative
    everywhere the output is black and no gradient comes back.

    Args:
        scales: integer factors of the outputs; the one core serves them all.
        residual: leave out the last ReLU, start the last convolution at zero and add the
            interpolated input: the smallest change that makes the network start at interpolation
            and unable to die. For comparison only; it is not the report's.

    Returns:
        A model from `lr`, `(batch, height, width, 3)` in [0, 1], to a dictionary of `sr_x<scale>`.
    """
    filters = (64, 64, 128, 128, 256, 128, 128, 64, 64, 3)
    convolutions = [layers.Conv2D(n, 3, padding="same", activation="relu") for n in filters]
    if residual:
        convolutions[-1] = layers.Conv2D(3, 3, padding="same", kernel_initializer="zeros")

    def core(x: Any) -> Any:
        conv = iter(convolutions)
        x = next(conv)(x)
        x = skip_a = next(conv)(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.Dropout(0.3)(x)
        x = next(conv)(x)
        x = skip_b = next(conv)(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
        x = next(conv)(x)

        x = layers.UpSampling2D(2)(x)
        x = next(conv)(x)
        x = next(conv)(x)
        x = layers.Add()([CropToMatch()([x, skip_b]), skip_b])
        x = layers.UpSampling2D(2)(x)
        x = next(conv)(x)
        x = next(conv)(x)
        x = layers.Add()([CropToMatch()([x, skip_a]), skip_a])
        return next(conv)(x)

    lr = keras.Input((None, None, 3), name="lr")
    outputs = {}
    for scale in scales:
        name = output_name(scale)
        if residual:
            interpolated = BicubicUpsampling(scale, name=f"bicubic_x{scale}")(lr)
            add = layers.Add(name=name, dtype="float32")
            outputs[name] = add([interpolated, core(interpolated)])
            continue
        enlarged = layers.UpSampling2D(scale, name=f"nearest_x{scale}")(lr) if scale > 1 else lr
        outputs[name] = layers.Activation("linear", name=name, dtype="float32")(core(enlarged))
    return keras.Model(lr, outputs, name="report_autoencoder")
