import keras
import numpy as np
import pytest

from isr_pipeline.training.optimizers import ConvolutionMuon, make_optimizer


def test_a_step_of_muon_has_even_singular_values_on_kernels():
    optimizer = ConvolutionMuon(1.0, weight_decay=None, adam_weight_decay=None)
    generator = np.random.default_rng(0)
    kernel = keras.Variable(np.zeros((3, 3, 8, 6), np.float32))
    # A gradient that is nearly of rank one: plain descent would step in one direction alone.
    gradient = np.outer(generator.normal(size=72), generator.normal(size=6)) * 10
    gradient += generator.normal(size=(72, 6))
    optimizer.build([kernel])
    optimizer.apply([keras.ops.convert_to_tensor(gradient.reshape(3, 3, 8, 6), "float32")])
    step = -np.asarray(kernel).reshape(72, 6)
    values = np.linalg.svd(step, compute_uv=False) / (0.2 * np.sqrt(72))
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert np.trace(step.T @ gradient) > 0


def test_kernels_of_one_shape_are_stepped_as_each_would_be_alone():
    generator = np.random.default_rng(1)
    shapes = [(3, 3, 4, 5), (3, 3, 4, 5), (1, 1, 5, 12), (3, 3, 4, 5)]
    gradients = [generator.normal(size=shape).astype(np.float32) for shape in shapes]

    def stepped(chosen):
        kernels = [keras.Variable(np.zeros(shapes[number], np.float32)) for number in chosen]
        optimizer = make_optimizer("muon", 1e-2, None, 1)
        optimizer.build(kernels)
        for factor in (1.0, -0.4):
            optimizer.apply([keras.ops.convert_to_tensor(factor * gradients[n]) for n in chosen])
        return [np.asarray(kernel) for kernel in kernels]

    together = stepped(range(4))
    for number in range(4):
        assert np.allclose(together[number], stepped([number])[0], atol=1e-7)
        assert np.abs(together[number]).max() > 1e-4


def test_biases_are_stepped_as_by_adam():
    biases = [keras.Variable(np.zeros(4, np.float32)) for _ in range(2)]
    gradient = np.array([1.0, -2.0, 0.5, 3.0], np.float32)
    optimizers = [
        make_optimizer("muon", 1e-3, None, 1),
        keras.optimizers.Adam(1e-3, beta_2=0.99),
    ]
    for bias, optimizer in zip(biases, optimizers, strict=True):
        optimizer.build([bias])
        for _ in range(3):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    assert np.allclose(biases[0], biases[1], rtol=1e-4)


def test_accumulated_batches_make_one_step_of_their_mean():
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer = make_optimizer("adam", 1e-2, None, 2)
    optimizer.build([weight])
    for gradient, moved in ((4.0, False), (2.0, True)):
        optimizer.apply([keras.ops.convert_to_tensor([gradient])])
        assert (float(np.asarray(weight)[0]) != 0) is moved


def test_muon_takes_accumulated_batches_as_one():
    generator = np.random.default_rng(2)
    gradients = generator.normal(size=(2, 3, 3, 4, 5)).astype(np.float32)

    def stepped(batches, accumulate_steps):
        kernel = keras.Variable(np.zeros((3, 3, 4, 5), np.float32))
        optimizer = make_optimizer("muon", 1e-2, None, accumulate_steps)
        optimizer.build([kernel])
        for batch in batches:
            optimizer.apply([keras.ops.convert_to_tensor(batch)])
        return np.asarray(kernel)

    whole = stepped([gradients.mean(0)], 1)
    assert np.abs(whole).max() > 1e-4
    assert np.allclose(stepped(gradients, 2), whole, atol=1e-7)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="adam, muon"):
        make_optimizer("sgd", 1e-3, None, 1)
