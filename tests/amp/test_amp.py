"""autocast and GradScaler on a machine without a GPU, against PyTorch's."""

import pytest
import torch

import minitorch


def train(T, scaler, steps=12, explode=(), clip=False):
    """Weights and scales of a training whose loss overflows in the steps `explode`."""
    p = T.nn.Parameter(T.tensor([1.0, -2.0]))
    optimizer = T.optim.SGD([p], lr=0.1, momentum=0.5)
    path = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = (p * p).sum() * (1e38 if step in explode else 1.0)
        scaler.scale(loss).backward()
        if clip:
            scaler.unscale_(optimizer)
            T.nn.utils.clip_grad_norm_([p], 0.5)
        scaler.step(optimizer)
        scaler.update()
        path.append((p.tolist(), scaler.get_scale()))
    return path


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"init_scale": 8.0, "growth_interval": 2}, {"growth_factor": 1.7, "backoff_factor": 0.3}],
    ids=str,
)
def test_training_is_pytorchs(options, clip):
    paths = []
    for T in (minitorch, torch):
        scaler = T.amp.GradScaler("cpu", **{"growth_interval": 3, **options})
        path = train(T, scaler, explode=(2, 3, 8), clip=clip)
        state = scaler.state_dict()
        again = T.amp.GradScaler("cpu")
        again.load_state_dict(state)
        assert again.state_dict() == state
        paths.append((path + train(T, again, explode=(1,)), state))
    (ours, our_state), (theirs, their_state) = paths
    assert our_state == pytest.approx(their_state)
    for (a, scale), (b, expected) in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
        assert scale == pytest.approx(expected, rel=1e-6)
    assert len({scale for _, scale in ours}) > 2


def test_a_disabled_scaler_does_nothing(T):
    scaler = T.amp.GradScaler("cpu", enabled=False)
    x = T.ones(2)
    assert scaler.scale(x) is x
    assert train(T, scaler) == train(T, scaler, clip=False)
    assert not scaler.is_enabled() and scaler.get_scale() == 1.0
    assert scaler.state_dict() == {}
    scaler.load_state_dict({})
    scaler.unscale_(None)
    scaler.update()


def test_without_a_gpu_both_are_switched_off_with_a_warning(T):
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not T.amp.GradScaler().is_enabled()
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not T.cuda.amp.GradScaler().is_enabled()
    with pytest.warns(UserWarning, match="CUDA is not available"), T.autocast("cuda"):
        assert (T.ones(2, 2) @ T.ones(2, 2)).dtype is T.float32


def test_several_losses_are_scaled_together(T):
    scaler = T.amp.GradScaler("cpu", init_scale=4.0)
    a, (b, c) = scaler.scale([T.ones(1), (T.ones(1), T.ones(2))])
    assert a.tolist() + b.tolist() + c.tolist() == [4.0] * 4


def test_the_order_of_calls(T):
    p = T.nn.Parameter(T.ones(2))
    optimizer = T.optim.SGD([p])
    scaler = T.amp.GradScaler("cpu")
    with pytest.raises(AssertionError):
        scaler.update()
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called on this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"after step\(\)"):
        scaler.unscale_(optimizer)
    scaler.update()
    with pytest.raises(RuntimeError, match="Closure use"):
        scaler.step(optimizer, closure=lambda: None)
    with pytest.raises(RuntimeError, match="source state dict is empty"):
        scaler.load_state_dict({})
    half = T.nn.Parameter(T.ones(2, dtype=T.float16))
    half.grad = T.ones(2, dtype=T.float16)
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(T.optim.SGD([half]))


def test_autocast_that_is_switched_off(T):
    @T.autocast("cpu", dtype=T.bfloat16, enabled=False)
    def product():
        return T.ones(2, 2) @ T.ones(2, 2)

    assert product().dtype is T.float32
    with T.amp.autocast(device_type="cpu", enabled=False), T.cuda.amp.autocast(enabled=False):
        assert product().dtype is T.float32
    with pytest.raises(ValueError, match="`device_type` of type `str`"):
        T.autocast(T.device("cpu"))


def test_autocast_that_is_switched_on_is_an_error():
    with pytest.raises(NotImplementedError, match=r"enabled=False .* \.to\(torch.bfloat16\)"):
        minitorch.autocast("cpu")


def test_the_old_paths():
    from minitorch.cuda.amp import GradScaler, autocast

    assert issubclass(GradScaler, minitorch.GradScaler)
    assert issubclass(autocast, minitorch.autocast)
