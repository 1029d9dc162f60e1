"""L-BFGS: Newton's method with a Hessian guessed from the last gradients (Liu and Nocedal 1989).

All parameters together are one vector here, and the state belongs to the first of them. The numbers
stay in tensors, as PyTorch's do, so that they are rounded where PyTorch rounds them.
PyTorch: torch/optim/lbfgs.py.
"""

from __future__ import annotations

from ..autograd.grad_mode import enable_grad, no_grad
from ..dispatch.declare import functions
from .line_search import strong_wolfe
from .optimizer import Optimizer, check_options


class LBFGS(Optimizer):
    """Quasi-Newton steps; needs a closure that computes the loss anew. Mirrors torch.optim.LBFGS.

    Each step goes up to `max_iter` times along d = -H g, where H, the inverse Hessian, is known
    from `history_size` pairs of how far the parameters (s) and the gradient (y) have moved. Without
    a `line_search_fn` it goes lr * d; with "strong_wolfe" as far as Wolfe's conditions ask. It ends
    early when the loss has been computed `max_eval` times (1.25 * max_iter by default), or when no
    gradient is over `tolerance_grad` or no change over `tolerance_change`.

    Raises ValueError for more than one parameter group, RuntimeError for another line search.
    """

    def __init__(
        self,
        params,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        check_options(lr, None, None, False)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def step(self, closure):
        """Minimise; returns the loss before. closure: computes the loss and its gradients anew."""
        with no_grad():
            return self._minimise(closure)

    def _minimise(self, closure):
        group = self.param_groups[0]
        lr, small = float(group["lr"]), group["tolerance_change"]
        search = group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def evaluate():
            with enable_grad():
                loss = closure()
            state["func_evals"] += 1
            return loss, self._gradient()

        first_loss, grad = evaluate()
        loss, evaluations = float(first_loss), state["func_evals"] - 1
        self._opt_called = True
        if grad.abs().max() <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            self._turn(state, grad, group["history_size"])
            d, before = state["d"], loss
            state["prev_flat_grad"], state["prev_loss"] = grad.clone(), loss
            first = state["n_iter"] == 1
            state["t"] = min(1.0, 1.0 / grad.abs().sum()) * lr if first else lr
            slope = grad.dot(d)
            if slope > -small:
                break
            if search is None:
                self._move(d, state["t"])
                if iteration < group["max_iter"]:
                    loss, grad = evaluate()
                    loss = float(loss)
            else:
                start = [p.clone() for p in group["params"]]

                def along(t, start=start, d=d):
                    self._move(d, t)
                    value, gradient = evaluate()
                    for p, old in zip(group["params"], start, strict=True):
                        p.copy_(old)
                    return float(value), gradient

                left = group["max_eval"] - (state["func_evals"] - evaluations)
                loss, grad, state["t"] = strong_wolfe(
                    along, state["t"], loss, grad, slope, d, max_evaluations=left
                )
                self._move(d, state["t"])
            if (
                state["func_evals"] - evaluations >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or d.mul(state["t"]).abs().max() <= small
                or abs(loss - before) < small
            ):
                break
        return first_loss

    @staticmethod
    def _turn(state, grad, history_size) -> None:
        """Learn from the last move, and set the direction d = -H grad (two-loop recursion)."""
        state["n_iter"] += 1
        if state["n_iter"] == 1:
            state.update(d=-grad, old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return
        ys, ss, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = y.dot(s)
        if curvature > 1e-10:  # otherwise H would not stay positive definite
            if len(ys) == history_size:
                del ys[0], ss[0], ro[0]
            ys.append(y)
            ss.append(s)
            ro.append(1.0 / curvature)
            state["H_diag"] = curvature / y.dot(y)
        al = state.setdefault("al", [None] * history_size)
        d = -grad
        for i in reversed(range(len(ys))):
            al[i] = ss[i].dot(d) * ro[i]
            d.add_(ys[i], alpha=-al[i])
        d = d * state["H_diag"]
        for i in range(len(ys)):
            d.add_(ss[i], alpha=al[i] - ys[i].dot(d) * ro[i])
        state["d"] = d

    def _gradient(self):
        """All gradients as one vector; zeros where there is none."""
        params = self.param_groups[0]["params"]
        return functions["cat"](
            [
                functions["zeros_like"](p).view(-1) if p.grad is None else p.grad.reshape(-1)
                for p in params
            ]
        )

    def _move(self, direction, t) -> None:
        """Move all parameters by t * direction."""
        params = self.param_groups[0]["params"]
        parts = direction.split([p.numel() for p in params])
        for p, part in zip(params, parts, strict=True):
            p.add_(part.view_as(p), alpha=t)
