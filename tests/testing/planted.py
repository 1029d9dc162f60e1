"""Functions with wrong derivatives, in a module of their own: scripts can import them."""

import minitorch as torch


class Cube(torch.autograd.Function):
    """x**3, with a gradient that is wrong where x is negative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x.abs()


class OnceOnly(torch.autograd.Function):
    """exp, with a right gradient that is not differentiable itself."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y.detach()


class NotMultiplied(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0]


class Net(torch.nn.Module):
    """Its second bias is cut off from the graph."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.second = torch.nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        hidden = self.first(x).tanh()
        return hidden @ self.second.weight.t() + self.second.bias.detach()


def scaled(x, *, factors):
    return (x * factors["a"][0]).sum(), x * factors["a"][0].detach()
